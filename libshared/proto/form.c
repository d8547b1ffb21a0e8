#include "form.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <strings.h>

#define MAX_DELIMITER (FORM_MAX_BOUNDARY + 4) /* CR LF "--" boundary */
#define MAX_OUTSIDE (8 * 1024)                /* bytes before the first and after the last boundary */
#define HOW_TO_SEND "; send the form as a browser or curl -F does" /* whoever writes forms by himself is told that */

enum state {
    PREAMBLE,        /* looking for the first delimiter */
    BODY,            /* inside a part, looking for the next one */
    AFTER_DELIMITER, /* "--" would close the form */
    DASH,
    PADDING, /* spaces, then the end of the delimiter's line */
    LINE_END,
    HEADERS,
    EPILOGUE, /* everything was there */
};

struct form_parser {
    const struct form_calls *calls;
    void *ctx;
    enum state state;
    char delimiter[MAX_DELIMITER + 1];
    size_t delimiter_len;
    size_t matched; /* bytes of the delimiter seen at the end of what was fed; they are held back */
    size_t assumed; /* the first of them that belong to the line before, not to what is looked through */
    size_t outside; /* bytes before the first or after the last delimiter */
    unsigned parts;
    size_t header_len;
    char header[FORM_MAX_HEADER + 1];
    struct form_part part;
};

/* --- Parameters: ; name=value; name="quoted" --- */

struct text {
    const char *at;
    size_t len;
};

static bool equals(struct text text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t");
}

/* Reads a quoted string from its opening quote on. Only \" and \\ are escapes: old browsers send C:\dir\name as it is. */
static bool read_quoted(const char **at, char *out, size_t size)
{
    const char *s = *at + 1;
    size_t len = 0;

    for (; *s != '"'; s++) {
        if (*s == '\\' && (s[1] == '"' || s[1] == '\\'))
            s++;
        if (*s == '\0' || len + 1 >= size)
            return false;
        out[len++] = *s;
    }
    out[len] = '\0';
    *at = s + 1;
    return true;
}

static bool read_bare(const char **at, char *out, size_t size)
{
    size_t len = strcspn(*at, "; \t");

    if (len == 0 || len >= size)
        return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len;
    return true;
}

enum param_result { PARAM_END, PARAM_READ, PARAM_BAD };

/* The next parameter. A value that does not fit is as bad as one that is malformed. */
static enum param_result next_param(const char **at, struct text *ret_name, char *value, size_t size)
{
    const char *s = skip_space(*at);

    while (*s == ';')
        s = skip_space(s + 1);
    if (*s == '\0')
        return PARAM_END;
    if (s == *at) /* nothing separates it from what stands before */
        return PARAM_BAD;
    *ret_name = (struct text){.at = s, .len = strcspn(s, "= \t;\"")};
    s = skip_space(s + ret_name->len);
    if (ret_name->len == 0 || *s != '=')
        return PARAM_BAD;
    s = skip_space(s + 1);
    if (!(*s == '"' ? read_quoted(&s, value, size) : read_bare(&s, value, size)))
        return PARAM_BAD;
    *at = s;
    return PARAM_READ;
}

/* --- The request's Content-Type --- */

static bool is_boundary(const char *s)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ";
    size_t len = strlen(s);

    return len >= 1 && len <= FORM_MAX_BOUNDARY && strspn(s, allowed) == len && s[len - 1] != ' ';
}

static int read_boundary(const char *content_type, char boundary[FORM_MAX_BOUNDARY + 2], struct err *e)
{
    static const char type[] = "multipart/form-data";
    char value[256];
    struct text name;
    enum param_result result;
    const char *at = content_type + sizeof type - 1;

    if (strncasecmp(content_type, type, sizeof type - 1) != 0 || strchr("; \t", *at) == NULL)
        return err_set(e, ERR_INVALID, "the Content-Type must be multipart/form-data" HOW_TO_SEND);
    *boundary = '\0';
    while ((result = next_param(&at, &name, value, sizeof value)) == PARAM_READ)
        if (equals(name, "boundary") &&
            (*boundary != '\0' || !is_boundary(value) || !str_copy(boundary, FORM_MAX_BOUNDARY + 2, value)))
            return err_set(e, ERR_INVALID,
                           "the boundary in the Content-Type is not valid, or there are two" HOW_TO_SEND);
    if (result == PARAM_BAD)
        return err_set(e, ERR_INVALID, "the parameters of the Content-Type are malformed" HOW_TO_SEND);
    if (*boundary == '\0')
        return err_set(e, ERR_INVALID, "the Content-Type multipart/form-data has no boundary" HOW_TO_SEND);
    return 0;
}

int form_new(const char *content_type, const struct form_calls *calls, void *ctx, struct form_parser **ret,
             struct err *e)
{
    char boundary[FORM_MAX_BOUNDARY + 2];
    int r = read_boundary(content_type == NULL ? "" : content_type, boundary, e);

    if (r != 0)
        return r;
    struct form_parser *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for a form");
    p->calls = calls;
    p->ctx = ctx;
    str_format(p->delimiter, sizeof p->delimiter, "\r\n--%s", boundary);
    p->delimiter_len = strlen(p->delimiter);
    p->matched = p->assumed = 2; /* the first delimiter may stand at the very beginning, as if a line had just ended */
    *ret = p;
    return 0;
}

void form_free(struct form_parser *p)
{
    mem_free(p);
}

/* --- One part's headers --- */

static int bad_header(struct err *e)
{
    return err_set(e, ERR_INVALID, "a part of the form has a malformed header" HOW_TO_SEND);
}

/* "UTF-8'en'a%20b" (RFC 8187) into at most size bytes; false when it is malformed, too long or in another charset. */
static bool decode_extended(const char *value, char *out, size_t size)
{
    static const char charset[] = "utf-8'";
    size_t len = 0;
    unsigned char c;

    if (strncasecmp(value, charset, sizeof charset - 1) != 0)
        return false;
    value = strchr(value + sizeof charset - 1, '\'');
    if (value == NULL)
        return false;
    for (value++; *value != '\0'; value++) {
        c = (unsigned char)*value;
        if (c == '%') {
            char digits[3] = {value[1], value[1] == '\0' ? '\0' : value[2], '\0'};
            if (!hex_decode(digits, &c, 1))
                return false;
            value += 2;
        }
        if (c < 0x20 || c == 0x7F || len + 1 >= size)
            return false;
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return utf8_valid(out, len);
}

/* "C:\dir\a.mp4" and "/home/me/a.mp4" → "a.mp4" */
static void remove_folders(char *filename)
{
    const char *slash = strrchr(filename, '/'), *backslash = strrchr(filename, '\\');
    const char *last = slash > backslash || backslash == NULL ? slash : backslash;

    if (last != NULL)
        memmove(filename, last + 1, strlen(last + 1) + 1);
}

struct disposition {
    bool has_name, has_filename, has_extended;
};

/* One parameter of Content-Disposition. Each may be there once. */
static int take_param(struct form_part *part, struct disposition *seen, struct text name, const char *value,
                      struct err *e)
{
    if (equals(name, "name")) {
        if (seen->has_name || !str_copy(part->name, sizeof part->name, value))
            return err_set(e, ERR_INVALID, "a part of the form has two names, or one longer than %d bytes" HOW_TO_SEND,
                           FORM_NAME_SIZE - 1);
        seen->has_name = true;
    } else if (equals(name, "filename")) {
        if (seen->has_filename)
            return err_set(e, ERR_INVALID, "a part of the form has two file names" HOW_TO_SEND);
        if (!seen->has_extended && !str_copy(part->filename, sizeof part->filename, value))
            return err_set(e, ERR_INVALID, "a file name is longer than %d bytes; shorten it", FORM_FILENAME_SIZE - 1);
        part->is_file = seen->has_filename = true;
    } else if (equals(name, "filename*")) {
        if (seen->has_extended || !decode_extended(value, part->filename, sizeof part->filename))
            return err_set(
                e, ERR_INVALID,
                "a file name given as filename* is not UTF-8''…, or is too long; write it so, or shorten it");
        part->is_file = seen->has_extended = true;
    }
    return 0;
}

static int read_disposition(struct form_part *part, const char *value, struct err *e)
{
    static const char type[] = "form-data";
    char text[3 * FORM_FILENAME_SIZE];
    struct disposition seen = {0};
    struct text name;
    enum param_result result;
    int r;

    if (strncasecmp(value, type, sizeof type - 1) != 0)
        return err_set(e, ERR_INVALID, "a part's Content-Disposition is not form-data" HOW_TO_SEND);
    value += sizeof type - 1;
    while ((result = next_param(&value, &name, text, sizeof text)) == PARAM_READ)
        if ((r = take_param(part, &seen, name, text, e)) != 0)
            return r;
    if (result == PARAM_BAD)
        return err_set(e, ERR_INVALID, "a part's Content-Disposition is malformed or too long" HOW_TO_SEND);
    if (!seen.has_name)
        return err_set(e, ERR_INVALID, "a part of the form has no name" HOW_TO_SEND);
    utf8_repair(part->name);
    utf8_repair(part->filename);
    remove_folders(part->filename);
    return 0;
}

static int read_header(struct form_part *part, bool *has_disposition, char *line, struct err *e)
{
    size_t name_len = strcspn(line, ": \t");
    struct text name = {.at = line, .len = name_len};

    if (name_len == 0 || line[name_len] != ':')
        return bad_header(e);
    const char *value = skip_space(line + name_len + 1);
    if (equals(name, "Content-Disposition")) {
        if (*has_disposition)
            return err_set(e, ERR_INVALID, "a part of the form has two Content-Disposition headers" HOW_TO_SEND);
        *has_disposition = true;
        return read_disposition(part, value, e);
    }
    if (equals(name, "Content-Type")) {
        str_copy(part->content_type, sizeof part->content_type, value);
        utf8_repair(part->content_type);
    }
    if (equals(name, "Content-Transfer-Encoding") && strcasecmp(value, "binary") != 0 &&
        strcasecmp(value, "8bit") != 0 && strcasecmp(value, "7bit") != 0)
        return err_set(e, ERR_INVALID,
                       "a part of the form has a Content-Transfer-Encoding; send the bytes as they are");
    return 0;
}

static bool has_control(const char *line)
{
    for (; *line != '\0'; line++)
        if (((unsigned char)*line < 0x20 && *line != '\t') || *line == 0x7F)
            return true;
    return false;
}

/* The block in p->header: lines that end in CR LF, the last one empty. */
static int read_headers(struct form_parser *p, struct err *e)
{
    bool has_disposition = false;
    int r;

    memset(&p->part, 0, sizeof p->part);
    if (memchr(p->header, '\0', p->header_len) != NULL)
        return bad_header(e);
    p->header[p->header_len] = '\0';
    for (char *line = p->header, *end; (end = strstr(line, "\r\n")) != NULL && end != line; line = end + 2) {
        *end = '\0';
        if (has_control(line))
            return bad_header(e);
        if ((r = read_header(&p->part, &has_disposition, line, e)) != 0)
            return r;
    }
    if (!has_disposition)
        return err_set(e, ERR_INVALID, "a part of the form has no Content-Disposition header" HOW_TO_SEND);
    return 0;
}

/* --- Bytes --- */

static int put_data(struct form_parser *p, const char *data, size_t len, struct err *e)
{
    if (len == 0)
        return 0;
    if (p->state == BODY)
        return p->calls->part_data(p->ctx, data, len, e);
    p->outside += len;
    if (p->outside > MAX_OUTSIDE)
        return err_set(e, ERR_INVALID,
                       p->state == PREAMBLE
                           ? "the body does not begin with the boundary that its Content-Type names" HOW_TO_SEND
                           : "there is more after the form's closing boundary" HOW_TO_SEND);
    return 0;
}

/* Where the delimiter stands, or as much of it as the bytes end in; `len` when neither. */
static size_t find_delimiter(const struct form_parser *p, const char *data, size_t len)
{
    const char *end = data + len;

    for (const char *at = data; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++) {
        size_t left = (size_t)(end - at);
        if (memcmp(at, p->delimiter, left < p->delimiter_len ? left : p->delimiter_len) == 0)
            return (size_t)(at - data);
    }
    return len;
}

/* Passes on what stands before the delimiter, in one piece, and holds back what may be its beginning. CR stands only at
 * the delimiter's beginning, so when the next bytes do not go on with it none of the held ones can begin another one. */
static int feed_content(struct form_parser *p, const char *data, size_t len, size_t *ret_used, struct err *e)
{
    size_t at = p->matched > 0 ? 0 : find_delimiter(p, data, len);
    size_t missing = p->delimiter_len - p->matched, n = len - at < missing ? len - at : missing;
    int r;

    if (memcmp(data + at, p->delimiter + p->matched, n) != 0) {
        r = put_data(p, p->delimiter + p->assumed, p->matched - p->assumed, e);
        p->matched = p->assumed = 0;
        *ret_used = 0;
        return r;
    }
    r = put_data(p, data, at, e);
    p->matched += n;
    *ret_used = at + n;
    if (r != 0 || n < missing)
        return r;
    r = p->state == BODY ? p->calls->part_end(p->ctx, e) : 0;
    p->matched = p->assumed = 0;
    p->state = AFTER_DELIMITER;
    return r;
}

static int begin_part(struct form_parser *p, struct err *e)
{
    int r = read_headers(p, e);

    if (r != 0)
        return r;
    if (++p->parts > FORM_MAX_PARTS)
        return err_set(e, ERR_INVALID, "the form has more than %d parts; send only title, description and video",
                       FORM_MAX_PARTS);
    p->state = BODY;
    p->matched = p->assumed = 2; /* a part without a body: the empty line is the beginning of its delimiter */
    return p->calls->part_begin(p->ctx, &p->part, e);
}

static int feed_header(struct form_parser *p, char c, struct err *e)
{
    if (p->header_len == FORM_MAX_HEADER)
        return err_set(e, ERR_INVALID, "a part of the form has more than %d bytes of headers; shorten its names",
                       FORM_MAX_HEADER);
    p->header[p->header_len++] = c;

    const char *end = p->header + p->header_len;
    bool is_empty = p->header_len == 2 && memcmp(p->header, "\r\n", 2) == 0;
    bool is_complete = p->header_len >= 4 && memcmp(end - 4, "\r\n\r\n", 4) == 0;
    return is_empty || is_complete ? begin_part(p, e) : 0;
}

/* What may follow a delimiter, one byte at a time: "--", or spaces and the end of the line. */
static const struct {
    enum state state;
    char byte;
    enum state next;
} steps[] = {
    {AFTER_DELIMITER, '-', DASH},      {DASH, '-', EPILOGUE},
    {AFTER_DELIMITER, ' ', PADDING},   {AFTER_DELIMITER, '\t', PADDING},
    {AFTER_DELIMITER, '\r', LINE_END}, {PADDING, ' ', PADDING},
    {PADDING, '\t', PADDING},          {PADDING, '\r', LINE_END},
    {LINE_END, '\n', HEADERS},
};

static int feed_delimiter(struct form_parser *p, char c, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (steps[i].state != p->state || steps[i].byte != c)
            continue;
        p->state = steps[i].next;
        p->header_len = 0;
        p->outside = 0;
        return 0;
    }
    return err_set(e, ERR_INVALID, "a boundary in the form is not followed by the end of its line" HOW_TO_SEND);
}

int form_feed(struct form_parser *p, const void *data, size_t len, struct err *e)
{
    const char *bytes = data;
    size_t at = 0, used;
    int r = 0;

    while (at < len && r == 0) {
        switch (p->state) {
        case PREAMBLE:
        case BODY:
            r = feed_content(p, bytes + at, len - at, &used, e);
            at += r == 0 ? used : 0;
            break;
        case HEADERS:
            r = feed_header(p, bytes[at++], e);
            break;
        case EPILOGUE:
            return put_data(p, bytes + at, len - at, e);
        default:
            r = feed_delimiter(p, bytes[at++], e);
        }
    }
    return r;
}

int form_finish(struct form_parser *p, struct err *e)
{
    if (p->state == EPILOGUE)
        return 0;
    if (p->state == PREAMBLE)
        return err_set(e, ERR_INVALID, "the boundary that the Content-Type names is not in the body" HOW_TO_SEND);
    return err_set(e, ERR_INVALID,
                   "the form ends before its closing boundary: the upload was cut short; send it again");
}
