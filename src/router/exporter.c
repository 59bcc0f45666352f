#include "router/exporter.h"

#include "base/clock.h"
#include "base/log.h"
#include "telemetry/export.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKOFF_LEAST (100 * NS_PER_MS)
#define BACKOFF_MOST  (10 * NS_PER_S)
#define LANES         256u

struct line {
    struct exporter *exporter;
    struct config_collector to;
    struct reactor_watch watch; /* fd -1: none */
    struct reactor_timer retry;
    int64_t backoff;
    bool up;
    struct export *export;
    struct buf out;
    uint64_t records, dropped, bytes, connects;
};

struct exporter {
    struct router *router;
    size_t most; /* bytes that wait for a collector */
    unsigned n;
    struct line line[8];
};

/* --- lines ---------------------------------------------------------------------------------------------------------- */

static void hang_up(struct line *l, const char *why)
{
    struct reactor *r = &l->exporter->router->reactor;
    char text[IP_TEXT_SIZE];
    if (l->watch.fd >= 0) {
        reactor_remove(r, &l->watch);
        close(l->watch.fd);
    }
    if (l->up)
        log_warn("collector %s: %s", ip_addr_print(text, &l->to.address), why);
    l->watch.fd = -1;
    l->up = false;
    l->out.len = 0;
    reactor_timer_set(r, &l->retry, clock_now_ns() + l->backoff);
    l->backoff = l->backoff * 2 < BACKOFF_MOST ? l->backoff * 2 : BACKOFF_MOST;
}

static void send_out(struct line *l)
{
    while (l->up && l->out.len) {
        ssize_t n = send(l->watch.fd, l->out.data, l->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return hang_up(l, strerror(errno));
        l->bytes += (uint64_t)n;
        buf_consume(&l->out, (size_t)n);
    }
    if (l->up)
        reactor_change(&l->exporter->router->reactor, &l->watch, EPOLLIN | (l->out.len ? EPOLLOUT : 0));
}

static void connected(struct line *l)
{
    char text[IP_TEXT_SIZE];
    l->up = true;
    l->connects++;
    l->backoff = BACKOFF_LEAST;
    export_restart(l->export);
    log_info("collector %s: connected", ip_addr_print(text, &l->to.address));
}

static void line_ready(struct reactor_watch *w, uint32_t events)
{
    struct line *l = w->user;
    int code = 0;
    socklen_t len = sizeof(code);
    char bytes[256];
    if (!l->up) {
        if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &code, &len) || code || (events & (EPOLLERR | EPOLLHUP)))
            return hang_up(l, strerror(code));
        connected(l);
    }
    /* Collectors say nothing; what they send is thrown away, the end noticed. */
    if ((events & EPOLLIN) && recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
        return hang_up(l, "it has closed the line");
    if (events & (EPOLLERR | EPOLLHUP))
        return hang_up(l, "the line broke");
    send_out(l);
}

static socklen_t address_of(const struct config_collector *c, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
    struct sockaddr_in *four = (struct sockaddr_in *)ret;
    memset(ret, 0, sizeof(*ret));
    if (c->address.family == IP_V4) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)c->port);
        memcpy(&four->sin_addr, c->address.a.b, 4);
        return sizeof(*four);
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)c->port);
    memcpy(&six->sin6_addr, c->address.a.b, 16);
    return sizeof(*six);
}

static void dial(struct reactor_timer *t, int64_t now)
{
    struct line *l = t->user;
    struct sockaddr_storage to;
    socklen_t len = address_of(&l->to, &to);
    int one = 1;
    l->watch.fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->watch.fd < 0)
        return hang_up(l, strerror(errno));
    setsockopt(l->watch.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if ((connect(l->watch.fd, (struct sockaddr *)&to, len) && errno != EINPROGRESS) ||
        reactor_add(&l->exporter->router->reactor, &l->watch, EPOLLIN | EPOLLOUT)) {
        close(l->watch.fd);
        l->watch.fd = -1;
        hang_up(l, "no line");
    }
}

/* --- records -------------------------------------------------------------------------------------------------------- */

/* Whether a record may be added: else it is dropped. */
static bool has_room(struct line *l)
{
    bool room = l->up && l->out.len < l->exporter->most;
    l->records += room;
    l->dropped += !room;
    return room;
}

#define EACH_LINE(x, l) for (struct line *l = (x) ? (x)->line : NULL; (x) && l < (x)->line + (x)->n; l++)

void exporter_flow(struct exporter *x, const struct elephant_report *e)
{
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_flow(l->export, e, e->at_ns, &l->out))
            l->dropped++;
    }
}

void exporter_loss(struct exporter *x, const struct loss_record *r)
{
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_loss(l->export, r, clock_now_ns(), &l->out))
            l->dropped++;
    }
}

void exporter_marking(struct exporter *x, const struct marking_record *m)
{
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_marking(l->export, m, clock_now_ns(), &l->out))
            l->dropped++;
    }
}

void exporter_event(struct exporter *x, const struct lane_event *e)
{
    struct link_sample s = {.at_ns = e->at_ns,
        .port = e->port,
        .event = (uint8_t)e->kind,
        .lane = e->lane,
        .peer = e->peer,
        .detail = e->detail};
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_link(l->export, &s, e->at_ns, &l->out))
            l->dropped++;
    }
}

static void ports(struct exporter *x, const struct ports_view *v)
{
    for (unsigned i = 0; i < v->n; i++) {
        const struct port_view *p = &v->port[i];
        struct port_sample s = {.at_ns = v->at_ns,
            .port = i,
            .name = x->router->config.ports[i].name,
            .up = p->up && (!p->core || p->link.up),
            .rate_bps = x->router->config.ports[i].rate_bps,
            .rx_packets = p->rx_packets,
            .rx_bytes = p->rx_bytes,
            .tx_packets = p->tx_packets,
            .tx_bytes = p->tx_bytes,
            .dropped_packets = p->dropped_packets,
            .queued_cells = p->waiting_cells,
            .reserved_cells = (uint32_t)p->link.committed_cells,
            .pool_cells = (uint32_t)p->link.pool_cells};
        EACH_LINE(x, l)
        {
            if (has_room(l) && export_port(l->export, &s, v->at_ns, &l->out))
                l->dropped++;
        }
    }
}

static uint8_t lane_state(uint8_t state)
{
    static const uint8_t of[LANE_VIEW_STATES] = {[LANE_VIEW_OPENING] = LANE_SAMPLE_OPENING,
        [LANE_VIEW_RUNNING] = LANE_SAMPLE_RUNNING,
        [LANE_VIEW_BLOCKED] = LANE_SAMPLE_BLOCKED,
        [LANE_VIEW_PAUSED] = LANE_SAMPLE_PAUSED,
        [LANE_VIEW_HELD] = LANE_SAMPLE_HELD,
        [LANE_VIEW_DISCARDED] = LANE_SAMPLE_DISCARDED,
        [LANE_VIEW_ENDING] = LANE_SAMPLE_HELD};
    return of[state];
}

static void lane(struct exporter *x, const struct lane_view *v, int64_t now)
{
    struct lane_sample s = {.at_ns = now,
        .lane = v->id,
        .tenant = v->tenant,
        .in_port = v->in_port,
        .out_port = v->out_port,
        .class_ = v->class_,
        .state = lane_state(v->state),
        .sent_packets = v->sent_packets,
        .sent_bytes = v->sent_bytes,
        .dropped_packets = v->dropped_packets,
        .marked_packets = v->marked_packets,
        .lost_cells = v->lost_cells,
        .queued_cells = v->queued_cells,
        .peak_cells = v->peak_cells,
        .window_cells = v->window_cells,
        .occupied_cells = v->occupied_cells,
        .credit_cells = (uint32_t)v->credit_cells};
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_lane(l->export, &s, now, &l->out))
            l->dropped++;
    }
}

static void totals(void *user, int64_t now)
{
    struct exporter *x = user;
    EACH_LINE(x, l)
    {
        if (has_room(l) && export_loss_totals(l->export, forward_loss(x->router->forward), now, &l->out))
            l->dropped++;
    }
}

void exporter_counters(struct exporter *x, const struct ports_view *v)
{
    static struct lane_view lanes[LANES];
    uint32_t cursor = 0;
    unsigned n;
    bool any = false;
    EACH_LINE(x, l)
    {
        any |= l->up;
    }
    if (!any)
        return;
    ports(x, v);
    while ((n = router_view_lanes(x->router, &cursor, lanes, LANES)) > 0)
        for (unsigned i = 0; i < n; i++)
            lane(x, &lanes[i], v->at_ns);
    loop_call(x->router->loop, totals, x);
    exporter_flush(x);
}

void exporter_flush(struct exporter *x)
{
    EACH_LINE(x, l)
    {
        if (l->up) {
            export_flush(l->export, clock_now_ns(), &l->out);
            send_out(l);
        }
    }
}

/* --- start, end, view ------------------------------------------------------------------------------------------------- */

int exporter_open(struct exporter **ret, struct router *r, struct error *err)
{
    const struct config_ipfix *c = &r->config.ipfix;
    struct exporter *x = calloc(1, sizeof(*x));
    if (!x)
        return error_set(err, ENOMEM, "no memory");
    x->router = r;
    x->most = (size_t)c->buffer_kib << 10;
    for (; x->n < c->n_collectors; x->n++) {
        struct line *l = &x->line[x->n];
        *l = (struct line){.exporter = x, .to = c->collectors[x->n], .watch = {.fd = -1}, .backoff = BACKOFF_LEAST};
        l->watch.ready = line_ready;
        l->watch.user = l;
        l->retry = (struct reactor_timer){.due = dial, .user = l};
        int rc = export_create(&l->export, &(struct export_config){.domain = c->domain ? c->domain : r->config.id,
                                               .wall_ns = r->wall_minus_now,
                                               .marking_period_ns = r->config.marking.period_ns,
                                               .describe = true});
        if (rc) {
            exporter_close(x);
            return error_set(err, -rc, "ipfix: no exporter: %s", strerror(-rc));
        }
        reactor_timer_set(&r->reactor, &l->retry, 0);
    }
    *ret = x;
    return 0;
}

void exporter_close(struct exporter *x)
{
    if (!x)
        return;
    exporter_flush(x);
    EACH_LINE(x, l)
    {
        reactor_timer_clear(&x->router->reactor, &l->retry);
        if (l->watch.fd >= 0) {
            reactor_remove(&x->router->reactor, &l->watch);
            close(l->watch.fd);
        }
        export_free(l->export);
        buf_done(&l->out);
    }
    free(x);
}

unsigned exporter_view(const struct exporter *x, struct exporter_view *ret, unsigned most)
{
    unsigned i = 0;
    for (; x && i < x->n && i < most; i++)
        ret[i] = (struct exporter_view){.address = x->line[i].to.address,
            .port = (uint16_t)x->line[i].to.port,
            .up = x->line[i].up,
            .records = x->line[i].records,
            .dropped = x->line[i].dropped,
            .bytes = x->line[i].bytes,
            .connects = x->line[i].connects,
            .waiting = (uint32_t)x->line[i].out.len};
    return i;
}
