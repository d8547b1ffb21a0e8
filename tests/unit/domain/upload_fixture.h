#ifndef WEIR_TEST_UPLOAD_FIXTURE_H
#define WEIR_TEST_UPLOAD_FIXTURE_H

#include "library_fixture.h"

#include "domain/upload.h"

/* Uploads on the test library, as the handlers of the API do them, through as many services (processes) as a test wants. */

#define MIB (1024u * 1024)
#define PART (5 * MIB) /* the smallest that S3 takes */
#define SECRET "00112233445566778899aabbccddeeff"
#define CLIENT "192.0.2.7"

extern unsigned char *upload_bytes; /* UPLOAD_BYTES_MAX and some, what every upload is made of */
#define UPLOAD_BYTES_MAX (24 * MIB)
extern struct upload_service *service; /* of upload_up */

struct upload_options upload_test_options(void);
struct upload_service *start_service(const struct upload_options *o);
void upload_up(void); /* checked fixture, with library_up */
void upload_down(void);

/* What one client knows. */
struct file {
    char id[ID_VIDEO_SIZE];
    uint64_t size;
    bool deferred; /* the length is declared with the last bytes */
};

/* POST without a body. */
struct file create(struct upload_service *s, enum upload_origin origin, uint64_t size);
struct file create_deferred(struct upload_service *s, uint64_t size);

/* HEAD. */
uint64_t look(struct upload_service *s, const struct file *f);
int try_look(struct upload_service *s, const struct file *f, struct upload_state *ret, struct err *e);

/* PATCH: `count` bytes from `offset` on; finishes when they are the last. ERR_CONFLICT: another offset. */
int try_patch(struct upload_service *s, const struct file *f, uint64_t offset, uint64_t count, struct err *e);
void patch(struct upload_service *s, const struct file *f, uint64_t offset, uint64_t count);
/* All of it, in pieces of that size. */
void send_all(struct upload_service *s, const struct file *f, uint64_t piece);

/* A PATCH that goes on: its session. */
struct upload *begin_patch(struct upload_service *s, const struct file *f);
int write_bytes(struct upload *u, uint64_t offset, uint64_t count, struct err *e); /* in pieces */

void expect_no_parts(void);
void expect_finished(const struct file *f); /* content, one job, nothing left open */
void expect_nothing(const char *id);        /* no record, no source, no part, a closed log */
void expect_content(const char *key, uint64_t size);
enum video_state indexed_state(const char *id);
size_t records(const struct file *f); /* of its log */
struct upload_state folded(const struct file *f);

/* A pass of the reconciler, to which everything is older than it need be. */
void repair(void);

#endif
