#include "collect.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "domain/upload_log.h"

#include <string.h>

#define MAX_VERSIONS 64 /* looked at in one pass; the rest in the next */
#define SUPERSEDED_MS (UINT64_C(24) * 60 * 60 * 1000)

/* --- Versions --- */

struct versions {
    size_t skip; /* bytes of "<id>/" before the version */
    size_t count;
    char name[MAX_VERSIONS][LAYOUT_VERSION_SIZE];
};

/* Keys come sorted, so a version's objects stand together. */
static int note_version(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct versions *v = ctx;
    const char *name = entry->key + v->skip, *slash = strchr(name, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - name);

    (void)e;
    if (len == 0 || len >= LAYOUT_VERSION_SIZE || v->count == MAX_VERSIONS)
        return 0;
    if (v->count > 0 && strncmp(v->name[v->count - 1], name, len) == 0 && v->name[v->count - 1][len] == '\0')
        return 0;
    memcpy(v->name[v->count], name, len);
    v->name[v->count][len] = '\0';
    v->count += layout_version_valid(v->name[v->count]);
    return 0;
}

/* The newest published outcome, if there is one: {.generation = 0} otherwise. */
static int read_newest(const struct library *l, const char *video_id, struct outcome *ret, struct err *e)
{
    int r = outcome_published(l->store, l->processed, video_id, ret, e);

    return r == -ERR_NOT_FOUND ? 0 : r;
}

static int is_garbage(const struct library *l, const char *video_id, const char *version, const struct outcome *newest,
                      bool *ret, struct err *e)
{
    OUTCOME_AUTO struct outcome own = {0};
    uint64_t generation;

    *ret = false;
    if (!layout_version_generation(version, &generation))
        return 0;
    int r = outcome_read(l->store, l->processed, video_id, generation, &own, e);
    if (r == -ERR_NOT_FOUND)
        return 0; /* not decided yet: this version may become the one */
    if (r != 0)
        return r;
    bool superseded = newest->generation > generation && clock_wall_ms() > newest->created_ms + SUPERSEDED_MS;
    *ret = superseded || strcmp(own.version, version) != 0;
    return 0;
}

static int collect_version(const struct library *l, const char *video_id, const char *version, bool dry_run,
                           struct err *e)
{
    return dry_run ? 0
                   : store_delete_prefix(l->store, l->processed, layout_version_prefix(video_id, version).s, NULL, e);
}

static int collect_each(const struct library *l, const char *video_id, const struct versions *versions, bool dry_run,
                        uint64_t *ret_count, struct err *e)
{
    OUTCOME_AUTO struct outcome newest = {0};

    int r = read_newest(l, video_id, &newest, e);
    for (size_t i = 0; r == 0 && i < versions->count; i++) {
        bool garbage = false;
        r = is_garbage(l, video_id, versions->name[i], &newest, &garbage, e);
        if (r == 0 && garbage) {
            r = collect_version(l, video_id, versions->name[i], dry_run, e);
            ++*ret_count;
        }
    }
    return r;
}

int collect_versions(const struct library *l, const char *video_id, bool dry_run, uint64_t *ret_count, struct err *e)
{
    struct layout_key prefix = layout_video_prefix(video_id);
    MEM_AUTO struct versions *versions = mem_zalloc(sizeof *versions);
    uint64_t count = 0;

    if (versions == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory to collect");
    versions->skip = strlen(prefix.s);
    int r = store_list(l->store, l->processed, prefix.s, NULL, 0, note_version, versions, e);
    if (r == 0 && versions->count > 0)
        r = collect_each(l, video_id, versions, dry_run, &count, e);
    if (r == 0)
        *ret_count = count;
    return r;
}

/* --- Logs --- */

static bool has_ended(const struct upload_record *newest)
{
    return newest->kind == UPLOAD_COMPLETING || newest->kind == UPLOAD_CLOSED;
}

int collect_log(const struct library *l, const char *video_id, bool dry_run, bool *ret_removed, struct err *e)
{
    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    uint64_t seq;

    *ret_removed = false;
    int r = upload_log_newest(l->store, l->raw, video_id, &newest, &seq, e);
    if (r == -ERR_NOT_FOUND)
        return 0;
    if (r != 0)
        return r;
    *ret_removed = has_ended(&newest) && clock_wall_ms() > newest.written_ms + l->gc_ms;
    if (!*ret_removed || dry_run)
        return 0;
    return store_delete_prefix(l->store, l->raw, layout_log_prefix(video_id).s, NULL, e);
}
