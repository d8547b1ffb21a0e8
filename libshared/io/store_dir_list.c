#include "store_dir.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* S3 lists keys in byte order as whole strings: "a.b" < "a/b" < "a0", because '.' < '/' < '0'. A walk through the tree
 * gives that order when a folder sorts by its name with the '/': everything below "a/" begins with those bytes.
 *
 * A folder is read in batches of its smallest names, so memory is bound however large it is; every further batch costs
 * another pass over the folder. */

#define BATCH 8192 /* names kept of a folder; twice as many while it is read */

struct level {
    struct level *up;
    size_t folder_len;                 /* of walk.key, with the last '/' */
    char after[STORE_SEGMENT_MAX + 2]; /* names up to this one are done */
    char **names;                      /* sorted; folders end in '/' */
    size_t count, next;
    bool more; /* the folder has names after the batch */
};

struct walk {
    const struct store_dir *dir;
    const char *prefix, *start_after;
    char path[DIR_PATH_SIZE + 1]; /* "<bucket>/", then the key (or the folder, with its '/') */
    char *key;                    /* within path */
    struct level *top;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(struct level *level, size_t from)
{
    for (size_t i = from; i < level->count; i++)
        mem_free(level->names[i]);
    level->count = from;
}

static void sort_and_cut(struct level *level)
{
    qsort(level->names, level->count, sizeof *level->names, compare_names);
    if (level->count > BATCH) {
        free_names(level, BATCH);
        level->more = true;
    }
}

/* Whether `name` (a folder's with '/') may still lead to a wanted key. */
static bool wanted(const struct walk *w, const struct level *level, const char *name)
{
    char key[STORE_KEY_MAX + 2];
    bool folder = str_ends(name, "/");

    if (strcmp(name, level->after) <= 0 || (level->more && strcmp(name, level->names[BATCH - 1]) > 0))
        return false;
    if (!str_format(key, sizeof key, "%.*s%s", (int)level->folder_len, w->key, name))
        return false;
    if (!str_starts(key, w->prefix) && !(folder && str_starts(w->prefix, key)))
        return false;
    return strcmp(key, w->start_after) > 0 || (folder && str_starts(w->start_after, key));
}

/* The entry's name as it sorts; false for what is neither a file nor a folder. */
static bool entry_name(int dir_fd, const struct dirent *entry, char name[STORE_SEGMENT_MAX + 2])
{
    unsigned char type = entry->d_type;
    struct stat st;

    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return false;
    if (type == DT_UNKNOWN && fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        type = S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_UNKNOWN;
    if (type != DT_REG && type != DT_DIR)
        return false;
    return str_format(name, STORE_SEGMENT_MAX + 2, "%s%s", entry->d_name, type == DT_DIR ? "/" : "");
}

static int collect(struct walk *w, struct level *level, DIR *list, struct err *e)
{
    char name[STORE_SEGMENT_MAX + 2];
    const struct dirent *entry;

    while (errno = 0, (entry = readdir(list)) != NULL) {
        if (!entry_name(dirfd(list), entry, name) || !wanted(w, level, name))
            continue;
        if ((level->names[level->count] = mem_strdup(name)) == NULL)
            return err_set(e, ERR_TEMPORARY, "out of memory");
        if (++level->count == (size_t)2 * BATCH)
            sort_and_cut(level);
    }
    return errno == 0 ? 0 : dir_fail("list", e);
}

/* Reads the next batch of the folder that stands in w->path. One that is gone is empty. */
static int read_batch(struct walk *w, struct level *level, struct err *e)
{
    level->next = 0;
    level->more = false;
    w->key[level->folder_len] = '\0';
    DIR *list = dir_open_list(w->dir->root_fd, w->path);
    if (list == NULL)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : dir_fail("list", e);
    int r = collect(w, level, list, e);
    closedir(list);
    if (r == 0)
        sort_and_cut(level);
    return r;
}

static int push(struct walk *w, size_t folder_len, struct err *e)
{
    struct level *level = mem_zalloc(sizeof *level);
    char **names = mem_calloc((size_t)2 * BATCH, sizeof *names);
    if (level == NULL || names == NULL) {
        mem_free(level);
        mem_free(names);
        return err_set(e, ERR_TEMPORARY, "out of memory");
    }
    *level = (struct level){.up = w->top, .folder_len = folder_len, .names = names};
    w->top = level;
    return read_batch(w, level, e);
}

static void pop(struct walk *w)
{
    struct level *level = w->top;

    w->top = level->up;
    free_names(level, 0);
    mem_free(level->names);
    mem_free(level);
}

/* Gives the object in w->path to the caller; one deleted since its folder was read is passed over. */
static int emit(const struct walk *w, store_each *each, void *ctx, struct err *e)
{
    struct store_info info;
    struct stat st;

    if (!store_key_valid(w->key))
        return 0;
    if (fstatat(w->dir->root_fd, w->path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : dir_fail("list", e);
    if (!S_ISREG(st.st_mode))
        return 0;
    dir_info(&st, &info);
    return each(ctx, &(struct store_entry){w->key, info.size_bytes, info.modified_ms}, e);
}

/* One name of the topmost folder, its next batch, or its end. */
static int walk_step(struct walk *w, store_each *each, void *ctx, struct err *e)
{
    struct level *level = w->top;

    if (level->next == level->count) {
        if (!level->more) {
            pop(w);
            return 0;
        }
        str_copy(level->after, sizeof level->after, level->names[level->count - 1]);
        free_names(level, 0);
        return read_batch(w, level, e);
    }
    const char *name = level->names[level->next++];
    size_t key_len = level->folder_len + strlen(name);
    memcpy(w->key + level->folder_len, name, strlen(name) + 1); /* `wanted` made sure that it fits */
    return str_ends(name, "/") ? push(w, key_len, e) : emit(w, each, ctx, e);
}

int dir_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
             store_each *each, void *ctx, struct err *e)
{
    struct walk w = {.dir = (struct store_dir *)s, .prefix = prefix, .start_after = start_after};
    const char *slash = strrchr(prefix, '/');
    size_t folder_len = slash != NULL ? (size_t)(slash - prefix) + 1 : 0;
    (void)max;

    if (faccessat(w.dir->root_fd, bucket, F_OK, 0) != 0)
        return err_set(e, ERR_TEMPORARY, "no such bucket");
    dir_path(w.path, bucket, prefix);
    w.key = w.path + strlen(bucket) + 1;

    int r = push(&w, folder_len, e);
    while (r == 0 && w.top != NULL)
        r = walk_step(&w, each, ctx, e);
    while (w.top != NULL)
        pop(&w);
    return r;
}
