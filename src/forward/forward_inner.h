/* Inside the forwarding core: what its parts share. One file per part:
 *
 *   receive.c   which part a frame is for              core.c    packets on core links, up to where they leave
 *   sid.c       SRv6 behaviours                        decap.c   End.DT*: the inner packet comes out
 *   access.c    packets of hosts                       vrf.c     tables of routes, and the way through one of them
 *   hop.c       what routes lead to                    encap.c   outer headers, prepared and put on
 *   path.c      strict paths                           slice.c   a tenant's lane on a path
 *   protect.c   1+1: both paths of a slice             stream.c  1+1: where they come together
 *   local.c     what is for us and what is from us     report.c  ICMP errors and records of loss
 *   seal.c      packets into ESP, a batch at a time    open.c    and out of it
 *   sa.c        keys
 *
 * A packet's data begins at the Ethernet header while it is a frame of a core link and at the IP header while it is on its
 * way through a VRF; packet_meta.l3 says which. Everything here runs on the core's own thread. */
#ifndef MERIDIAN_FORWARD_FORWARD_INNER_H
#define MERIDIAN_FORWARD_FORWARD_INNER_H

#include "forward/icmp.h"
#include "forward/neighbour.h"
#include "forward/poptrie.h"
#include "forward/tables.h"
#include "wire/hbh.h"

#define forward_likely(x)   __builtin_expect(!!(x), 1)
#define forward_unlikely(x) __builtin_expect(!!(x), 0)

#define HOP_NONE        POPTRIE_NONE
#define SID_ROUNDS      8u /* local SIDs of ours in a row that one packet may visit: a loop ends here */
#define ENCAP_MOST      224u
#define ENCAP_LEAST     64u /* IPv6 and options without a lane; every size is a multiple of 8 */
#define ENCAP_MARGIN    (PACKET_HEADROOM - ENCAP_MOST) /* Ethernet header and what the shell wants to keep */
#define DA_CACHE_SIZE   1024u
#define ACCESSES_MOST   1024u
#define VLANS           4096u
#define POLICE_BURST_NS 10000000

/* --- hops: what routes and local SIDs lead to ---------------------------------------------------------------- */

enum { HOP_SID = ROUTE_BLACKHOLE + 1 }; /* beside enum route_kind */

struct hop {
    /* for packets */
    uint8_t kind; /* enum route_kind or HOP_SID */
    uint8_t flavours;
    uint8_t csid_bits; /* NEXT-C-SID: 16 or 32 bits behind the block; 0: a full SID */
    bool encrypted;
    uint16_t behaviour; /* of a SID: enum sid_behaviour */
    uint16_t port, vlan;
    struct vrf *vrf;                   /* of a SID: End.DT*'s table */
    struct encap *encap[LANE_CLASSES]; /* ROUTE_REMOTE: users of them */
    struct ip_addr gateway;
    struct esp_sa *sa[LANE_CLASSES]; /* encrypted: as they were at sas_at */
    uint64_t sas_at;                 /* forward.sas_version when they were asked for */
    struct ip6 peer;
    uint32_t sa_vrf; /* encrypted: its VRF, so that VRFs do not share the hop */
    /* for the tables */
    uint32_t tenant;
    uint32_t path_of_class[LANE_CLASSES];
    struct ip6 service_sid;
    uint32_t users, chain; /* in its bucket: index + 1 */
};

struct hop_table {
    struct hop *hops;
    uint32_t *buckets;           /* index + 1 */
    uint32_t n, cap, mask, free; /* free: index + 1, through chain */
};

/* --- VRFs ----------------------------------------------------------------------------------------------------- */

struct vrf {
    uint32_t id, tenant;
    struct poptrie v4, v6;
    struct ip_addr speaker4, speaker6; /* an address of ours in it, for ICMP errors; family 0: none */
    uint32_t users;                    /* SIDs and sub-interfaces that name it */
    bool only_encrypted;               /* forward_vrf_encrypt */
};

/* --- sub-interfaces ------------------------------------------------------------------------------------------- */

struct access {
    struct forward_access config;
    bool used;
    struct vrf *vrf;
    uint8_t class_of_dscp[64];
    struct queue_bucket police;
    uint32_t net; /* of the neighbour table */
};

struct forward_port {
    struct port *port;   /* NULL: never added */
    uint16_t *access_of; /* access ports: per VLAN its index + 1 in forward.access; [0]: untagged */
    uint16_t index;
};

/* --- encapsulation -------------------------------------------------------------------------------------------- */

struct encap {
    /* for packets */
    uint8_t bytes[ENCAP_MOST]; /* IPv6 | hop-by-hop | [SRH] as sent, but for length, ECN, marks and inner protocol */
    uint16_t size, next_at;    /* next_at: the byte that names the inner protocol */
    uint16_t mark_at, lane_at; /* offsets of options' data; lane_at 0: no lane */
    uint16_t number_at;        /* of a 1+1 stream: offset of the number; 0: none */
    uint16_t out_port;
    uint8_t class_;
    bool ready;           /* it has somewhere to go */
    uint32_t inner_most;  /* bytes of IP packet that fit */
    uint32_t sealed_most; /* and with ESP around it */
    uint32_t flow_mon_id, tenant;
    uint64_t made_at;        /* forward.underlay_version it was made with */
    struct lane_tx *lane;    /* lane_ingress of it takes the packets; NULL: the port's lossy queue */
    struct protect *protect; /* 1+1: packets go by its two paths; NULL: by this one */
    /* for the tables */
    uint32_t path;
    struct ip6 service_sid;
    uint32_t users;
    struct encap *next;
};

struct slice {
    struct forward_slice config; /* its path is the one that packets take now */
    struct lane_tx *lane;        /* that takes them; NULL: comparison runs */
    struct encap *encap;         /* a user of it */
    struct protect *protect;     /* NULL: one path only */
    /* a move that was asked for: packets still take the old path */
    struct lane_tx *next_lane;
    struct encap *next_encap;
    bool moved_early; /* LANE_EVENT_MOVED came before lane_move had returned */
    /* a move that was made: the old path's lane has not ended, and it may be taken back */
    uint64_t old_lane; /* id; 0: none */
    uint32_t old_path;
    struct slice *next;
};

struct path {
    struct forward_path config;
    struct path *next;
};

/* Packets that wait for the others of their batch, never longer than a call lasts and never while tables or lanes change.
 * wait[i] is what the forwarding core has to know of packet[i]. */
struct sealing {
    struct esp_packet packet[ESP_BATCH];
    struct sealing_wait {
        struct rte_mbuf *m;
        const struct encap *encap;
        struct queue *queue;
        uint8_t ecn, marks;
    } wait[ESP_BATCH];
    unsigned n;
};

struct opening {
    struct esp_packet packet[ESP_BATCH];
    struct opening_wait {
        struct rte_mbuf *m;
        struct vrf *vrf;
        struct lane_rx *rx;
        uint8_t ecn;
    } wait[ESP_BATCH];
    unsigned n;
    bool busy;
};

/* Which hop an address of the underlay leads to: recent answers. */
struct da_entry {
    uint64_t hi, lo;
    uint64_t version; /* forward.underlay_version when it was asked */
    uint32_t hop;
};

struct forward {
    struct forward_ops ops;
    struct forward_config config;
    struct hbh_types option_types;
    struct lane_node *lanes;
    struct loss_log *loss;
    struct marking_table *marking;
    struct elephant_table *elephants;
    struct neighbour_table *neighbours;
    struct icmp_limit icmp;
    struct forward_port ports[LANE_PORTS_MOST];
    struct da_entry da_cache[DA_CACHE_SIZE];
    uint64_t underlay_version; /* counts changes of VRF 0, of SIDs and of core ports */
    struct hop_table hops;
    struct vrf **vrfs; /* sorted by id; [0]: the underlay */
    uint32_t n_vrfs, routes;
    struct access *access;
    uint16_t access_of_net[ACCESSES_MOST]; /* index + 1 */
    struct encap *encaps;
    struct path *paths;
    struct slice *slices;
    uint32_t protects; /* slices that are 1+1 */
    struct streams *streams;
    uint32_t flow_mon_next;
    uint32_t block_bits;
    int64_t now; /* of the call that is going on: for callbacks */
    struct forward_counts counts;
    struct esp *esp;      /* NULL: no SA was ever installed */
    uint64_t sas_version; /* counts SAs that came and went */
    struct sealing sealing;
    struct opening opening;
};

#endif
