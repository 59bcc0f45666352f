/* The class of a TCP connection, as routers see it: the DSCP of its packets (RFC 2474), over IPv4 and IPv6 alike.
 *
 * Whoever connects marks before it connects, so that the SYN carries the mark too; whoever accepts answers with the mark
 * that the SYN came with. So a class is decided at one end only, and both directions get it. */
#ifndef MERIDIAN_OS_DSCP_H
#define MERIDIAN_OS_DSCP_H

/* What packets of this socket carry from now on; dscp 0..63; ECN bits stay the kernel's. -errno. */
int dscp_set(int fd, unsigned dscp);
/* A listening socket: connections accepted from now on remember their SYN. -errno: this kernel cannot. */
int dscp_remember(int listener);
/* An accepted connection: gives its packets the mark of its SYN. The mark, or -errno when the SYN is not known (any more). */
int dscp_answer(int fd);

#endif
