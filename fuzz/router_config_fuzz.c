/* The text of a router's configuration: what is accepted prints as something that is accepted, and means the same. */
#include "router/router_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void look_at_bgp(const struct router_config *c)
{
    uint8_t rd[8], targets[CONFIG_TARGETS_MOST][8];
    struct error err;
    for (unsigned i = 0; c->has_bgp && i < c->n_vrfs; i++) {
        must(router_config_rd(c, i, rd, &err) == 0);
        must(router_config_targets(c, i, true, targets, CONFIG_TARGETS_MOST, &err) > 0);
        must(router_config_targets(c, i, false, targets, CONFIG_TARGETS_MOST, &err) > 0);
        must(router_config_service(c, c->vrfs[i].id) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct router_config c, again;
    struct error err = {0};
    struct buf first = {0}, second = {0};
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    if (router_config_read(&c, text, size, &err) == 0) {
        look_at_bgp(&c);
        must(fields_print(&first, &router_config_fields, &c) == 0);
        if (router_config_read(&again, buf_str(&first), first.len, &err) == 0) {
            must(fields_print(&second, &router_config_fields, &again) == 0);
            must(strcmp(buf_str(&first), buf_str(&second)) == 0);
            router_config_free(&again);
        } else {
            abort();
        }
        router_config_free(&c);
    } else {
        must(err.text[0] != 0);
    }
    buf_done(&first);
    buf_done(&second);
    free(text);
    return 0;
}
