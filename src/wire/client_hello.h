/* The name in a TLS ClientHello (SNI, RFC 6066), read without answering: what the cloud's supervisor looks at before it
 * knows whom to give the connection to. The bytes are an unauthenticated stranger's. Nothing is allocated. */
#ifndef MERIDIAN_WIRE_CLIENT_HELLO_H
#define MERIDIAN_WIRE_CLIENT_HELLO_H

#include <stddef.h>
#include <stdint.h>

#define CLIENT_HELLO_MAX     16384u /* bytes of the stream looked at */
#define CLIENT_HELLO_RECORDS 32u    /* a hello in more pieces is refused */
#define CLIENT_HELLO_NAME    256u

/* From the first `len` bytes of a stream:
 *   0        *ret_name is the server name, a C string of printable ASCII in lower case ("" if the hello has none).
 *   -EAGAIN  more is needed: nothing can be said before *ret_need bytes (> len, <= CLIENT_HELLO_MAX) are there.
 *   -EPROTO  this is no ClientHello.   -E2BIG  it is larger than CLIENT_HELLO_MAX. */
int client_hello_name(char ret_name[CLIENT_HELLO_NAME], size_t *ret_need, const uint8_t *bytes, size_t len);

#endif
