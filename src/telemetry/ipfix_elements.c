#include "telemetry/ipfix_elements.h"

#define IANA(e, name_, id_, type_) [IPFIX_E_##e] = {.name = #name_, .id = id_, .type = IPFIX_##type_},
#define OURS(e, name_, id_, type_, semantics_, units_, meaning_)                                                       \
    [IPFIX_E_##e] = {.name = #name_,                                                                                   \
        .ours = true,                                                                                                  \
        .id = id_,                                                                                                     \
        .type = IPFIX_##type_,                                                                                         \
        .semantics = IPFIX_##semantics_,                                                                               \
        .units = IPFIX_##units_,                                                                                       \
        .meaning = meaning_},

const struct ipfix_element_info ipfix_element_info[IPFIX_ELEMENTS] = {
    IPFIX_IANA_ELEMENTS(IANA) IPFIX_OUR_ELEMENTS(OURS)};

static const struct {
    const char *name;
    uint16_t len;
} types[] = {
    [IPFIX_UNSIGNED8] = {"unsigned8", 1},
    [IPFIX_UNSIGNED16] = {"unsigned16", 2},
    [IPFIX_UNSIGNED32] = {"unsigned32", 4},
    [IPFIX_UNSIGNED64] = {"unsigned64", 8},
    [IPFIX_STRING] = {"string", 0xffff},
    [IPFIX_MILLISECONDS] = {"dateTimeMilliseconds", 8},
    [IPFIX_NANOSECONDS] = {"dateTimeNanoseconds", 8},
    [IPFIX_IPV4] = {"ipv4Address", 4},
    [IPFIX_IPV6] = {"ipv6Address", 16},
};

uint16_t ipfix_element_len(enum ipfix_element e)
{
    return types[ipfix_element_info[e].type].len;
}

const char *ipfix_type_name(uint8_t type)
{
    const char *name = type < sizeof types / sizeof types[0] ? types[type].name : 0;
    return name ? name : "unknown";
}
