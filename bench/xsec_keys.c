/* How long until N sites of one VPN hold each other's keys, from beacons alone: `xsec_keys [SITES [SAMPLE]]`, 1000 and 8.
 *
 * A sample of the PEs really takes every other site's signed beacon (both signatures, one X25519, eight keys each) and their CPU
 * time is measured; that what one of them sends the other opens is checked. Then the whole is laid out in virtual time: all sites
 * start at once; a beacon takes 10 ms to the reflector and 10 ms from it; the reflector writes to all sites in turn over one
 * link of 1 Gbit/s; each PE takes what has arrived, one after the other, at the measured cost on one core. Nothing is configured
 * anywhere. Prints a line a figure: name, value. */
#include "base/clock.h"
#include "base/rng.h"
#include "xsec/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLE_MOST 16
#define DELAY_NS    10000000ll
#define LINK_BPS    1000000000ll
/* An UPDATE of one beacon: BGP and MP_REACH with an RT-5 of an IPv6 prefix, targets, Prefix-SID (docs/wire-bgp.md); TCP, IPv6. */
#define AROUND (23 + 77 + 20 + 11 + 40 + 4 + 72)

struct pe {
    struct xsec_agent *agent;
    struct xsec_agent_config config;
    struct xsec_vpn vpn;
    uint8_t beacon[XSEC_BEACON_MOST];
    size_t len;
    struct xsec_key in[SAMPLE_MOST], out[SAMPLE_MOST]; /* of lane 1, with others of the sample */
};

static uint64_t draws;
static struct pe *pes;
static unsigned sites = 1000, sample = 8;

static int persist(void *user, uint64_t generation)
{
    return 0;
}

static void draw(void *user, uint8_t *ret, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret[i] = (uint8_t)rng_u64(5, ++draws);
}

static void advertise(void *user, const uint8_t vpn[8], const uint8_t *beacon, size_t len)
{
    struct pe *p = user;
    memcpy(p->beacon, beacon, len);
    p->len = len;
}

static unsigned number_of(const struct ip6 *a)
{
    return (unsigned)a->b[14] << 8 | a->b[15];
}

static void install(void *user, const struct xsec_sa *sa)
{
    struct pe *p = user;
    unsigned other = number_of(&sa->peer);
    if (sa->lane == 1 && other < sample)
        *(sa->sending ? &p->out[other] : &p->in[other]) = sa->key;
}

static void drop(void *user, const struct xsec_sa *sa) {}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void make(struct pe *p, unsigned i, struct ed25519 *ca, int64_t now)
{
    struct xsec_certificate *c = &p->config.identity.certificate;
    struct ed25519 *key;
    draw(NULL, p->config.identity.seed, 32);
    ed25519_create(&key, p->config.identity.seed);
    *c = (struct xsec_certificate){.serial = i + 1,
        .pe = {{0xfd, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}},
        .not_before = now,
        .not_after = now + 86400};
    snprintf(c->name, sizeof c->name, "site%u", i);
    memcpy(c->key, ed25519_public(key), 32);
    ed25519_free(key);
    xsec_certificate_sign(c, ca);
    memcpy(p->config.identity.ca, ed25519_public(ca), 32);
    p->vpn = (struct xsec_vpn){.target = {0, 2, 0xfd, 0xe8, [7] = 10}, .next_hop = c->pe, .service_sid = c->pe};
    memcpy(p->vpn.rd, c->pe.b + 8, 8);
}

static void start(struct pe *p, int64_t now)
{
    struct xsec_above above = {
        .user = p, .persist = persist, .random = draw, .advertise = advertise, .install = install, .remove = drop};
    struct error err;
    if (xsec_agent_create(&p->agent, &p->config, &above, now, &err)) {
        fprintf(stderr, "xsec_keys: %s\n", err.text);
        exit(1);
    }
    xsec_vpn_add(p->agent, &p->vpn, now);
}

/* Seconds of CPU for one beacon, on average over the sample. */
static double hear_all(int64_t now, uint64_t *ret_good)
{
    double begin = cpu_s();
    uint64_t good = 0;
    for (unsigned i = 0; i < sample; i++)
        for (unsigned k = 0; k < sites; k++)
            if (k != i)
                good += xsec_beacon_take(pes[i].agent, &pes[k].vpn, pes[k].beacon, pes[k].len, now) == XSEC_GOOD;
    *ret_good = good;
    return (cpu_s() - begin) / (double)(sample * (sites - 1));
}

static bool keys_match(void)
{
    for (unsigned i = 0; i < sample; i++)
        for (unsigned k = 0; k < sample; k++)
            if (i != k && (pes[i].out[k].spi == 0 || memcmp(&pes[i].out[k], &pes[k].in[i], sizeof pes[i].out[k]) != 0))
                return false;
    return true;
}

/* The moment at which the last PE has taken the last beacon. The reflector writes beacon by beacon to every site. */
static double laid_out(double take_s, size_t octets)
{
    int64_t last = 0, write_ns = (int64_t)octets * 8 * NS_PER_S / LINK_BPS, cost = (int64_t)(take_s * 1e9);
    int64_t *free_at = calloc(sites, sizeof *free_at);
    for (unsigned b = 0; b < sites; b++)
        for (unsigned i = 0; i < sites; i++) {
            int64_t written = DELAY_NS + ((int64_t)b * sites + i + 1) * write_ns, arrives = written + DELAY_NS;
            if (i == b)
                continue; /* its own is not sent to it; the time on the link is left empty */
            free_at[i] = (free_at[i] > arrives ? free_at[i] : arrives) + cost;
            last = free_at[i] > last ? free_at[i] : last;
        }
    free(free_at);
    return (double)last * 1e-9;
}

int main(int argc, char **argv)
{
    struct ed25519 *ca;
    int64_t now = 1800000000;
    uint64_t good;
    if (argc > 1)
        sites = (unsigned)atoi(argv[1]);
    if (argc > 2)
        sample = (unsigned)atoi(argv[2]);
    if (sites < 2 || sites > 60000 || sample < 2 || sample > SAMPLE_MOST || sample > sites) {
        fprintf(stderr, "xsec_keys: 2 to 60000 sites, 2 to %d of them in the sample\n", SAMPLE_MOST);
        return 2;
    }
    pes = calloc(sites, sizeof *pes);
    ed25519_create(&ca, (uint8_t[32]){1});
    for (unsigned i = 0; i < sites; i++)
        make(&pes[i], i, ca, now);
    double begin = cpu_s();
    for (unsigned i = 0; i < sites; i++)
        start(&pes[i], now);
    double own = (cpu_s() - begin) / sites, take = hear_all(now, &good);
    if (good != (uint64_t)sample * (sites - 1) || !keys_match()) {
        fprintf(stderr, "xsec_keys: not every site's key is held\n");
        return 1;
    }
    printf("keys_%u_sites_s %.3f\n", sites, laid_out(take, pes[0].len + AROUND));
    printf("keys_%u_sites_cpu_s_a_pe %.3f\n", sites, own + take * (sites - 1));
    printf("beacon_take_us %.1f\n", take * 1e6);
    printf("beacon_make_us %.1f\n", own * 1e6);
    printf("beacon_octets %zu\n", pes[0].len);
    now += 1801; /* every site renews: what that costs a PE, spread over the following half hour */
    for (unsigned i = sample; i < sites; i++)
        xsec_agent_poll(pes[i].agent, now);
    begin = cpu_s();
    for (unsigned i = 0; i < sample; i++) /* those that have peers: new keys with each */
        xsec_agent_poll(pes[i].agent, now);
    double renewed = (cpu_s() - begin) / sample;
    take = hear_all(now, &good);
    printf("renewal_cpu_ms_a_pe %.1f\n", (take * (sites - 1) + renewed) * 1e3);
    for (unsigned i = 0; i < sites; i++)
        xsec_agent_free(pes[i].agent);
    ed25519_free(ca);
    free(pes);
    return good == (uint64_t)sample * (sites - 1) ? 0 : 1;
}
