/* Security associations. The table of them is made with the first one: most routers and all transit routers have none. A hop
 * remembers the SAs of its classes, and asks anew when any came or went. */
#include "forward/crypt.h"
#include "forward/vrf.h"

#include <errno.h>

void sa_find(struct forward *f, struct hop *h)
{
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        h->sa[c] = f->esp && h->encrypted ? esp_sending(f->esp, &h->peer, h->sa_vrf, (uint16_t)c) : NULL;
    h->sas_at = f->sas_version;
}

static int make_table(struct forward *f, struct error *err)
{
    if (f->esp)
        return 0;
    int rc = esp_create(&f->esp, f->config.sas_most);
    if (rc)
        return error_set(err, -rc, "the table of security associations cannot be made");
    if (f->ops.virtual_payload)
        esp_lengths_only(f->esp);
    return 0;
}

static int refused(int rc, const struct esp_sa_config *c, uint32_t most, struct error *err)
{
    switch (rc) {
    case -EEXIST:
        return error_set(err, EEXIST, "SPI %08x of this sender is in use already", c->spi);
    case -ENOSPC:
        return error_set(err, ENOSPC, "no more than %u security associations fit", most);
    default:
        return error_set(err, -rc, "no memory for a security association");
    }
}

int forward_sa_install(struct forward *f, const struct esp_sa_config *c, struct error *err)
{
    if (c->vrf == 0 || !vrf_find(f, c->vrf))
        return error_set(err, ENOENT, "a security association belongs to a VPN: there is no VRF %u", c->vrf);
    if (c->lane >= LANE_CLASSES)
        return error_set(err, EINVAL, "lane %u: there are %u, one for each class", c->lane, LANE_CLASSES);
    int rc = make_table(f, err);
    if (rc)
        return rc;
    rc = esp_install(f->esp, c);
    f->sas_version += rc == 0;
    return rc ? refused(rc, c, f->config.sas_most, err) : 0;
}

int forward_sa_remove(struct forward *f, uint32_t spi, const struct ip6 *peer, bool sending)
{
    int rc = f->esp ? esp_remove(f->esp, spi, peer, sending) : -ENOENT;
    f->sas_version += rc == 0;
    return rc;
}

const char *forward_cipher(const struct forward *f)
{
    return f->esp ? esp_cipher(f->esp) : "none";
}
