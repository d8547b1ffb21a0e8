#include "catalog.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/outcome.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define BUCKETS 1024

/* One thing that was looked up: the newest version of a video (wanted ""), or whether one version is published. */
struct entry {
    char video_id[ID_VIDEO_SIZE];
    char wanted[LAYOUT_VERSION_SIZE];
    char version[LAYOUT_VERSION_SIZE]; /* "": not there */
    enum err_kind failed;              /* of the last look, or 0 */
    uint64_t fresh_until_ms, used_ms;
    bool looking;
    struct entry *next;
};

struct catalog {
    struct catalog_options options;
    pthread_mutex_t lock;
    pthread_cond_t looked;
    struct entry *table[BUCKETS];
    size_t entries;
};

int catalog_new(const struct catalog_options *options, struct catalog **ret, struct err *e)
{
    struct catalog *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "catalog: out of memory");
    c->options = *options;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->looked, NULL);
    *ret = c;
    return 0;
}

void catalog_free(struct catalog *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (c->table[i] != NULL) {
            struct entry *entry = c->table[i];
            c->table[i] = entry->next;
            mem_free(entry);
        }
    pthread_cond_destroy(&c->looked);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static struct entry **bucket_of(struct catalog *c, const char *video_id, const char *wanted)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *p = video_id; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    for (const char *p = wanted; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return &c->table[hash % BUCKETS];
}

/* Removes what has not been asked for lately, with a shrinking notion of "lately": made-up ids can't fill the memory. */
static void shed(struct catalog *c, uint64_t now_ms)
{
    for (uint64_t age_ms = 60000; c->entries >= c->options.max_entries && age_ms >= 100; age_ms /= 4)
        for (size_t i = 0; i < BUCKETS; i++)
            for (struct entry **at = &c->table[i]; *at != NULL;) {
                struct entry *entry = *at;
                if (entry->looking || entry->used_ms + age_ms > now_ms) {
                    at = &entry->next;
                    continue;
                }
                *at = entry->next;
                c->entries--;
                mem_free(entry);
            }
}

static struct entry *find_or_add(struct catalog *c, const char *video_id, const char *wanted, uint64_t now_ms)
{
    struct entry **bucket = bucket_of(c, video_id, wanted);
    for (struct entry *entry = *bucket; entry != NULL; entry = entry->next)
        if (strcmp(entry->video_id, video_id) == 0 && strcmp(entry->wanted, wanted) == 0)
            return entry;

    if (c->entries >= c->options.max_entries)
        shed(c, now_ms);
    if (c->entries >= c->options.max_entries)
        return NULL;
    struct entry *entry = mem_zalloc(sizeof *entry);
    if (entry == NULL)
        return NULL;
    str_copy(entry->video_id, sizeof entry->video_id, video_id);
    str_copy(entry->wanted, sizeof entry->wanted, wanted);
    entry->used_ms = now_ms;
    entry->next = *bucket;
    *bucket = entry;
    c->entries++;
    return entry;
}

/* Asks the store. The marker is read last: a video that was deleted while we looked counts as deleted. */
static int look(struct catalog *c, const char *video_id, const char *wanted, char ret_version[LAYOUT_VERSION_SIZE],
                struct err *e)
{
    OUTCOME_AUTO struct outcome outcome = {0};
    uint64_t generation = 0;
    bool deleted = false;
    int r;

    if (wanted[0] == '\0')
        r = outcome_published(c->options.store, c->options.processed_bucket, video_id, &outcome, e);
    else if (!layout_version_generation(wanted, &generation))
        r = -ERR_NOT_FOUND;
    else
        r = outcome_read(c->options.store, c->options.processed_bucket, video_id, generation, &outcome, e);
    if (r == -ERR_NOT_FOUND) {
        ret_version[0] = '\0';
        return 0;
    }
    if (r != 0)
        return err_wrap(e, "look for the outcome of %s", video_id);

    r = outcome_video_deleted(c->options.store, c->options.raw_bucket, video_id, &deleted, e);
    if (r != 0)
        return err_wrap(e, "look for the deletion marker of %s", video_id);
    bool there = !deleted && outcome.state == VIDEO_COMPLETED &&
                 (wanted[0] == '\0' || strcmp(wanted, outcome.version) == 0);
    str_copy(ret_version, LAYOUT_VERSION_SIZE, there ? outcome.version : "");
    return 0;
}

/* With the lock held; it is open during the look. What was seen counts from the look's start, a failure from its end: those
 * who waited share it, instead of asking a store that is away one after the other. */
static int refresh(struct catalog *c, struct entry *entry, struct err *e)
{
    char version[LAYOUT_VERSION_SIZE] = "";
    uint64_t start_ms = clock_mono_ms();

    entry->looking = true;
    pthread_mutex_unlock(&c->lock);
    int r = look(c, entry->video_id, entry->wanted, version, e);
    pthread_mutex_lock(&c->lock);

    entry->looking = false;
    entry->failed = r == 0 ? 0 : e->kind;
    if (r == 0) {
        str_copy(entry->version, sizeof entry->version, version);
        entry->fresh_until_ms = start_ms + (version[0] != '\0' ? CATALOG_FRESH_MS : CATALOG_ABSENT_MS);
    } else {
        entry->fresh_until_ms = clock_mono_ms() + CATALOG_FAILED_MS;
    }
    pthread_cond_broadcast(&c->looked);
    return r;
}

/* Gives the answer of a look that started no longer than the fresh time ago. */
static int answer(struct catalog *c, const char *video_id, const char *wanted, char ret_version[LAYOUT_VERSION_SIZE],
                  struct err *e)
{
    uint64_t now_ms = clock_mono_ms();
    int r = 0;

    pthread_mutex_lock(&c->lock);
    struct entry *entry = find_or_add(c, video_id, wanted, now_ms);
    while (entry != NULL && entry->looking) {
        pthread_cond_wait(&c->looked, &c->lock);
        entry = find_or_add(c, video_id, wanted, now_ms); /* it may have been shed while we waited */
    }
    if (entry == NULL) {
        pthread_mutex_unlock(&c->lock);
        return err_set(e, ERR_BUSY, "too many different videos are asked for; try again in a moment");
    }
    entry->used_ms = now_ms;
    if (clock_mono_ms() >= entry->fresh_until_ms)
        r = refresh(c, entry, e);
    else if (entry->failed != 0)
        r = err_set(e, entry->failed, "a look for %s failed a moment ago", video_id);
    if (r == 0)
        str_copy(ret_version, LAYOUT_VERSION_SIZE, entry->version);
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalog_newest(struct catalog *c, const char *video_id, char ret_version[LAYOUT_VERSION_SIZE], struct err *e)
{
    char version[LAYOUT_VERSION_SIZE] = "";

    if (!id_video_valid(video_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such video; look at the address again");
    int r = answer(c, video_id, "", version, e);
    if (r != 0)
        return r;
    if (version[0] == '\0')
        return err_set(e, ERR_NOT_FOUND,
                       "there is no such video, or nothing of it is published yet; its status.json says how far it is");
    str_copy(ret_version, LAYOUT_VERSION_SIZE, version);
    return 0;
}

int catalog_check(struct catalog *c, const char *video_id, const char *version, struct err *e)
{
    char found[LAYOUT_VERSION_SIZE] = "";

    if (!id_video_valid(video_id) || !layout_version_valid(version))
        return err_set(e, ERR_NOT_FOUND, "there is no such video or version; begin with its master.m3u8 again");
    int r = answer(c, video_id, version, found, e);
    if (r != 0)
        return r;
    return found[0] != '\0'
               ? 0
               : err_set(e, ERR_NOT_FOUND, "there is no such video or version; begin with its master.m3u8 again");
}
