#include "tus_url.h"

#include "base/str.h"
#include "http_request.h"

#include <string.h>

static bool is_secret(const char *s)
{
    return strlen(s) == TUS_SECRET_SIZE - 1 && strspn(s, "0123456789abcdef") == TUS_SECRET_SIZE - 1;
}

bool tus_name_parse(const char *text, struct tus_name *ret)
{
    struct tus_name n;
    const char *tilde = strchr(text, '~');

    if (tilde == NULL || tilde - text != ID_VIDEO_SIZE - 1 || !is_secret(tilde + 1))
        return false;
    memcpy(n.video_id, text, ID_VIDEO_SIZE - 1);
    n.video_id[ID_VIDEO_SIZE - 1] = '\0';
    memcpy(n.secret, tilde + 1, TUS_SECRET_SIZE);
    if (!id_video_valid(n.video_id))
        return false;
    *ret = n;
    return true;
}

void tus_name_write(const struct tus_name *n, char out[TUS_NAME_SIZE])
{
    str_format(out, TUS_NAME_SIZE, "%s~%s", n->video_id, n->secret);
}

static const char *last_segment(const char *url, size_t *len)
{
    size_t start = *len;

    while (start > 0 && url[start - 1] != '/')
        start--;
    *len -= start;
    return url + start;
}

bool tus_url_parse(const char *url, size_t len, struct tus_name *ret)
{
    char raw[3 * TUS_NAME_SIZE + 2], path[HTTP_PATH_SIZE]; /* every character may be escaped */

    size_t end = len;
    for (size_t i = len; i-- > 0;) {
        if (url[i] <= ' ' || url[i] > '~')
            return false;
        if (url[i] == '?' || url[i] == '#')
            end = i;
    }
    len = end;
    const char *segment = last_segment(url, &len);
    if (!str_format(raw, sizeof raw, "/%.*s", (int)(len < sizeof raw ? len : sizeof raw), segment))
        return false;
    return http_path_decode(raw, path) && tus_name_parse(path + 1, ret);
}

const char *tus_url_next(const char **list, size_t *ret_len)
{
    const char *url = *list + strspn(*list, " ");

    *ret_len = strcspn(url, " ");
    *list = url + *ret_len;
    return *ret_len > 0 ? url : NULL;
}
