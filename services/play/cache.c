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
    struct cache *cache;
    char *key;
    char *data;
    size_t size;
    enum load_state state;
    enum err_kind failed; /* of FAILED, and its text */
    char *failure;
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
    mem_free(entry->failure);
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

/* Drops unpinned entries, oldest first, until `more` bytes fit; false when pinned ones alone are too many. Slow readers of
 * segments must not keep others from getting their playlists, so large objects don't take everything. */
static bool make_room(struct cache *c, size_t more)
{
    size_t max = c->options.max_bytes - (more > CACHE_SMALL ? c->options.max_bytes / 8 : 0);
    struct cache_entry *entry = c->oldest;

    while (entry != NULL && (c->bytes + more > max || c->entries > c->options.max_entries)) {
        struct cache_entry *newer = entry->newer;
        if (entry->pins == 0)
            forget(c, entry);
        entry = newer;
    }
    return c->bytes + more <= max;
}

static struct cache_entry *insert(struct cache *c, const char *key)
{
    struct cache_entry *entry = mem_zalloc(sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->cache = c;
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

int cache_room(struct cache_entry *entry, uint64_t size, char **ret, struct err *e)
{
    struct cache *c = entry->cache;

    if (size > c->options.max_object_bytes)
        return err_set(e, ERR_TOO_LARGE, "cache: an object of %llu bytes", (unsigned long long)size);
    pthread_mutex_lock(&c->lock);
    bool fits = make_room(c, (size_t)size);
    if (fits) {
        c->bytes += (size_t)size;
        entry->size = (size_t)size;
    }
    pthread_mutex_unlock(&c->lock);
    if (!fits)
        return err_set(e, ERR_BUSY, "cache: full of objects in use");
    entry->data = mem_alloc((size_t)size);
    if (entry->data == NULL)
        return err_set(e, ERR_TEMPORARY, "cache: out of memory");
    *ret = entry->data;
    return 0;
}

static void drop_bytes(struct cache *c, struct cache_entry *entry)
{
    c->bytes -= entry->size;
    entry->size = 0;
    mem_free(entry->data);
    entry->data = NULL;
}

static void load_entry(struct cache *c, struct cache_entry *entry, cache_load *load, void *ctx)
{
    struct err failure = {0};

    int r = load(ctx, entry, &failure);
    pthread_mutex_lock(&c->lock);
    if (r == 0) {
        entry->state = LOADED;
    } else if (r == -ERR_TOO_LARGE) {
        entry->state = OVERSIZE;
        drop_bytes(c, entry);
    } else {
        entry->state = FAILED;
        entry->failed = failure.kind;
        entry->failure = mem_strdup(failure.text);
        drop_bytes(c, entry);
        forget(c, entry);
    }
    metric_set(&held, NULL, (double)c->bytes);
    pthread_cond_broadcast(&c->settled);
    pthread_mutex_unlock(&c->lock);
}

void cache_put_back(struct cache_entry *entry)
{
    struct cache *c = entry->cache;

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
    pthread_mutex_unlock(&c->lock);

    if (state == LOADED) {
        *ret = entry;
        return 0;
    }
    int r = state == OVERSIZE
                ? err_set(e, ERR_TOO_LARGE, "cache: an object of more than %zu bytes", c->options.max_object_bytes)
                : err_set(e, entry->failed, "%s", entry->failure != NULL ? entry->failure : "out of memory");
    cache_put_back(entry);
    return r;
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
        return err_set(e, ERR_BUSY, "cache: full of objects in use");

    metric_add(&lookups, first ? "miss" : "hit", 1);
    if (first)
        load_entry(c, entry, load, ctx);
    return take(c, entry, ret, e);
}

const char *cache_data(const struct cache_entry *entry)
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
