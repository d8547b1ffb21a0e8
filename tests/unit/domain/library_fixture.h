#ifndef WEIR_TEST_LIBRARY_FIXTURE_H
#define WEIR_TEST_LIBRARY_FIXTURE_H

#include "faulty_store.h"
#include "queue_fixture.h"

#include "domain/library.h"

/* A library on a directory store, which can be made to fail (faulty_store.h), and a real Redis (queue_fixture.h). */

extern struct library test_library;
extern struct store *test_store; /* the faulty one */

void library_up(void); /* checked fixture: before each test; needs queue_server_up */
void library_down(void);

/* Objects, behind the library's back; they never fail. */
size_t objects(const char *bucket, const char *prefix);
bool object_exists(const char *bucket, const char *key);
char *object_text(const char *bucket, const char *key); /* owned; NULL when there is none */
void object_put(const char *bucket, const char *key, const char *text);
void object_age(const char *bucket, const char *prefix, unsigned days); /* makes them that old */
size_t open_multiparts(void); /* files of multipart uploads neither completed nor aborted */

/* The outcome of a generation. */
void put_published(const char *video_id, unsigned generation, const char *version);
void put_failed(const char *video_id, unsigned generation, const char *error);

#endif
