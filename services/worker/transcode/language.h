#ifndef WEIR_TRANSCODE_LANGUAGE_H
#define WEIR_TRANSCODE_LANGUAGE_H

/* Languages as files name them (ISO 639-2, three letters) and as HLS does (RFC 5646, the shortest tag). Pure. */

struct language {
    const char *code, *tag, *name;
};

/* For a code, or a two-letter tag, that is not known, and for NULL: {"und", "und", "Audio"}. */
const struct language *language_find(const char *code);

#endif
