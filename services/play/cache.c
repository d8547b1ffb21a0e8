#include "cache.h"

#include "base/mem.h"
#include "base/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define BUCKETS 4096
#define ENTRY_OVERHEAD 256 /* what an entry costs besides its bytes, roughly */

enum load_state { LOADING, LOADED, FAILED, OVERSIZE };

struct cache_entry {
    char *key;
    char *data;
    size_t size;
    enum load_state state;
    struct err failure;       /* of FAILED */
    unsigned pins;            /* holders and waiters */
    bool linked;              /* in the table: found by key */
    struct cache_entry *next; /* of the bucket */
    struct cache_entry *newer, *older;
};

struct cache {
    struct cache_options options;
    pthread_mutex_t lock;
    pthread_cond_t settled; /* some entry left LOADING */
    struct cache_entry *table[BUCKETS];
    struct cache_entry *newest, *oldest; /* linked entries by last use */
    size_t bytes, entries;
};

static struct metric lookups = METRIC_COUNTER("weir_play_cache_total", "Lookups in the memory cache.", "result");
static struct metric held = METRIC_GAUGE("weir_play_cache_bytes", "Bytes held by the memory cache.", NULL);

int cache_new(const struct cache_options *options, struct cache **ret, struct err *e)
{
    struct cache *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "cache: out of memory");
    c->options = *options;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->settled, NULL);
    *ret = c;
    return 0;
}

static size_t bucket_of(const char *key)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *p = key; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return hash % BUCKETS;
}

static void entry_free(struct cache_entry *entry)
{
    mem_free(entry->key);
    mem_free(entry->data);
    mem_free(entry);
}

static void use_link(struct cache *c, struct cache_entry *entry)
{
    entry->newer = NULL;
    entry->older = c->newest;
    if (c->newest != NULL)
        c->newest->newer = entry;
    else
        c->oldest = entry;
    c->newest = entry;
}

static void use_unlink(struct cache *c, struct cache_entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &c->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &c->oldest) = entry->newer;
}

static size_t cost(const struct cache_entry *entry)
{
    return entry->size + ENTRY_OVERHEAD;
}

/* Out of the table; freed now, or by the last holder. */
static void forget(struct cache *c, struct cache_entry *entry)
{
    struct cache_entry **at = &c->table[bucket_of(entry->key)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    use_unlink(c, entry);
    entry->linked = false;
    c->entries--;
    if (entry->pins == 0) {
        c->bytes -= cost(entry);
        entry_free(entry);
    }
}

static struct cache_entry *find(struct cache *c, const char *key)
{
    for (struct cache_entry *entry = c->table[bucket_of(key)]; entry != NULL; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

/* Drops unpinned entries, oldest first, until `more` bytes fit; false when pinned ones alone are too many. */
static bool make_room(struct cache *c, size_t more)
{
    struct cache_entry *entry = c->oldest;
    while (entry != NULL && (c->bytes + more > c->options.max_bytes || c->entries > c->options.max_entries)) {
        struct cache_entry *newer = entry->newer;
        if (entry->pins == 0)
            forget(c, entry);
        entry = newer;
    }
    return c->bytes + more <= c->options.max_bytes;
}

static struct cache_entry *insert(struct cache *c, const char *key)
{
    struct cache_entry *entry = mem_zalloc(sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->key = mem_strdup(key);
    if (entry->key == NULL || !make_room(c, ENTRY_OVERHEAD)) {
        entry_free(entry);
        return NULL;
    }
    struct cache_entry **bucket = &c->table[bucket_of(key)];
    entry->next = *bucket;
    *bucket = entry;
    entry->linked = true;
    entry->pins = 1;
    use_link(c, entry);
    c->entries++;
    c->bytes += cost(entry);
    return entry;
}

/* With the lock held: what the load gave becomes the entry's. */
static void settle(struct cache *c, struct cache_entry *entry, int result, const struct err *failure, struct buf *loaded)
{
    size_t size = loaded->len;

    if (result == 0 && !make_room(c, size))
        result = -ERR_TOO_LARGE; /* no room for it at this moment only */
    else if (result == -ERR_TOO_LARGE)
        entry->state = OVERSIZE;

    if (result == 0) {
        entry->data = buf_detach(loaded);
        entry->size = size;
        c->bytes += size;
        entry->state = LOADED;
    } else if (entry->state != OVERSIZE) {
        entry->state = FAILED;
        entry->failure = *failure;
        if (result == -ERR_TOO_LARGE)
            err_set(&entry->failure, ERR_TOO_LARGE, "cache: full of objects in use");
        forget(c, entry);
    }
    metric_set(&held, NULL, (double)c->bytes);
    pthread_cond_broadcast(&c->settled);
}

static void load_entry(struct cache *c, struct cache_entry *entry, cache_load *load, void *ctx)
{
    struct err failure = {0};
    BUF_AUTO struct buf loaded;

    buf_init(&loaded, c->options.max_object_bytes);
    int result = load(ctx, &loaded, &failure);
    if (result == 0)
        result = buf_check(&loaded, "object", &failure);

    pthread_mutex_lock(&c->lock);
    settle(c, entry, result, &failure, &loaded);
    pthread_mutex_unlock(&c->lock);
}

void cache_put_back(struct cache *c, struct cache_entry *entry)
{
    pthread_mutex_lock(&c->lock);
    if (--entry->pins == 0 && !entry->linked) {
        c->bytes -= cost(entry);
        entry_free(entry);
    }
    pthread_mutex_unlock(&c->lock);
}

/* Waits until the entry is settled; gives it back when it has no bytes. */
static int take(struct cache *c, struct cache_entry *entry, struct cache_entry **ret, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    while (entry->state == LOADING)
        pthread_cond_wait(&c->settled, &c->lock);
    enum load_state state = entry->state;
    struct err failure = entry->failure;
    pthread_mutex_unlock(&c->lock);

    if (state == LOADED) {
        *ret = entry;
        return 0;
    }
    cache_put_back(c, entry);
    if (state == OVERSIZE)
        return err_set(e, ERR_TOO_LARGE, "object of more than %zu bytes", c->options.max_object_bytes);
    return err_set(e, failure.kind, "%s", failure.text);
}

int cache_get(struct cache *c, const char *key, cache_load *load, void *ctx, struct cache_entry **ret, struct err *e)
{
    bool first = false;

    pthread_mutex_lock(&c->lock);
    struct cache_entry *entry = find(c, key);
    if (entry != NULL) {
        entry->pins++;
        use_unlink(c, entry);
        use_link(c, entry);
    } else {
        entry = insert(c, key);
        first = true;
    }
    pthread_mutex_unlock(&c->lock);
    if (entry == NULL)
        return err_set(e, ERR_TOO_LARGE, "cache: full of objects in use");

    metric_add(&lookups, first ? "miss" : "hit", 1);
    if (first)
        load_entry(c, entry, load, ctx);
    return take(c, entry, ret, e);
}

const void *cache_data(const struct cache_entry *entry)
{
    return entry->data;
}

size_t cache_size(const struct cache_entry *entry)
{
    return entry->size;
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    while (c->oldest != NULL)
        forget(c, c->oldest);
    pthread_cond_destroy(&c->settled);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}
