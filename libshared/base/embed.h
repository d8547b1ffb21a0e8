#ifndef WEIR_EMBED_H
#define WEIR_EMBED_H

#include <stddef.h>

/* A file built into a program by scripts/embed-files, which writes an array that ends with a NULL name. */
struct embedded_file {
    const char *name; /* relative path */
    const unsigned char *data;
    size_t size;     /* bytes */
    const char *tag; /* changes with the bytes */
};

#endif
