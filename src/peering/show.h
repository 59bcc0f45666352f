/* The state of a speaker as JSON, for `meridian bgp show`, the router's control socket and the controller's REST. */
#ifndef MERIDIAN_PEERING_SHOW_H
#define MERIDIAN_PEERING_SHOW_H

#include "base/buf.h"
#include "bgp/speaker.h"

/* {"peers":[{"peer","address","state","since_s","routes_in","updates_in","updates_out","families":[…],"last_error",…}]} */
int peering_show_peers(struct bgp_speaker *s, int64_t now, struct buf *ret);
/* {"routes":[{"family","route","next_hop","sid","source","best",…}]}: at most `most` routes of every family. */
int peering_show_routes(struct bgp_speaker *s, unsigned most, int64_t now, struct buf *ret);

const char *peering_family_name(uint32_t family); /* "evpn" */

/* A unix socket that answers these: one line "peers" or "routes [N]" in, one JSON document out. Returns the listening
 * descriptor; serve_one answers one waiting client at once (the client is local and of the same user: it may not dawdle). */
int peering_show_listen(const char *path, struct error *err);
void peering_show_serve(int listening, struct bgp_speaker *s, int64_t now);
/* The client's side: asks and returns the answer. */
int peering_show_ask(const char *path, const char *request, struct buf *ret, struct error *err);

#endif
