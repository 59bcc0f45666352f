/* Files that come up to the campus in pieces and go on where they stopped: resumable uploads over HTTP by the tus protocol 1.0.0
 * (creation, termination and, of whole files, a SHA-256 in the metadata). Samples of a branch without an IT room arrive this way.
 *
 *   OPTIONS /v1/uploads        what is spoken here
 *   POST    /v1/uploads        Upload-Length, Upload-Metadata: filename, sha256      201, Location
 *   GET     /v1/uploads        ours that are not finished, as JSON (so that a client that lost its notes finds them)
 *   HEAD    /v1/uploads/ID     Upload-Offset, Upload-Length
 *   PATCH   /v1/uploads/ID     Upload-Offset, the bytes from there on                 204; the last one finishes it
 *   DELETE  /v1/uploads/ID     forgets it
 *
 * On disk: DIR/incoming/ID.part and ID.json, whose size is the offset, so that a crash loses nothing that was acknowledged; finished
 * files are DIR/KEY/filename, never over another. A key sees its own uploads only. Thread-safe. */
#ifndef MERIDIAN_EDGE_UPLOADS_H
#define MERIDIAN_EDGE_UPLOADS_H

#include "base/error.h"
#include "http/http.h"

#include <stdint.h>

#define UPLOADS_PATH "/v1/uploads"

struct uploads_config {
    const char *dir;          /* made if need be, mode 0700 */
    uint64_t bytes_most;      /* of one file; 0: 64 GiB */
    uint32_t unfinished_most; /* of one key; 0: 32 */
    int64_t keep_s;           /* unfinished ones nobody touched for so long are deleted at the start; 0: 7 days */
};

struct uploads;

int uploads_open(struct uploads **ret, const struct uploads_config *c, struct error *err);
void uploads_close(struct uploads *u); /* NULL allowed */

/* A request whose path is UPLOADS_PATH or below it, of this key ("" without keys: everybody here is one). Answers it. */
void uploads_handle(struct uploads *u, const struct http_request *rq, const char *key, struct http_answer *a);

#endif
