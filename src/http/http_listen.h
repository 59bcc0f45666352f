/* Listening sockets from what a person writes: "127.0.0.1:8080", "[::1]:8080", "*:8080", "localhost:8080", ":8080". */
#ifndef MERIDIAN_HTTP_HTTP_LISTEN_H
#define MERIDIAN_HTTP_HTTP_LISTEN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct http_listen_name {
    char host[256]; /* "" : every address of both families */
    char port[16];
};

/* -EINVAL with a sentence. */
int http_listen_parse(struct http_listen_name *ret, const char *text, struct error *err);
/* True when only this machine can reach it. */
bool http_listen_is_loopback(const struct http_listen_name *n);
bool http_address_is_loopback(const struct sockaddr *sa);

/* Opens the sockets of one name (localhost has two), non-blocking, close-on-exec, listening. Port 0 picks one for all.
 * Fills at most cap fds, returns how many, or -errno with all closed. */
int http_listen_open(const struct http_listen_name *n, int *ret_fds, size_t cap, struct error *err);
uint16_t http_listen_port(int fd);

#endif
