/* DSCP to class. */
#include "forward/classes.h"

#include <errno.h>
#include <string.h>

enum { DSCP_CS3 = 24, DSCP_AF31 = 26, DSCP_CS4 = 32, DSCP_AF43 = 38, DSCP_CS5 = 40, DSCP_VA = 44, DSCP_EF = 46 };

static enum lane_class default_class(unsigned dscp)
{
    if (dscp == DSCP_EF || dscp == DSCP_CS5 || dscp == DSCP_VA)
        return LANE_INFERENCE;
    /* CS3, AF31, AF32, AF33, CS4, AF41, AF42, AF43: the even ones between */
    if (dscp >= DSCP_CS3 && dscp <= DSCP_AF43 && dscp % 2 == 0)
        return LANE_PARAMETER;
    return LANE_BULK;
}

int classes_plan(uint8_t ret[DSCP_COUNT], const uint8_t configured[DSCP_COUNT], struct error *err)
{
    static const uint8_t nothing[DSCP_COUNT];
    bool given = memcmp(configured, nothing, DSCP_COUNT) != 0;
    for (unsigned d = 0; given && d < DSCP_COUNT; d++)
        if (configured[d] == LANE_CONTROL || configured[d] >= LANE_CLASSES)
            return error_set(err, EINVAL, "DSCP %u: a host's packets may be inference, parameter or bulk", d);
    for (unsigned d = 0; d < DSCP_COUNT; d++)
        ret[d] = given ? configured[d] : (uint8_t)default_class(d);
    return 0;
}

static const char *const names[LANE_CLASSES] = {
    [LANE_CONTROL] = "control",
    [LANE_INFERENCE] = "inference",
    [LANE_PARAMETER] = "parameter",
    [LANE_BULK] = "bulk",
};

const char *class_name(enum lane_class c)
{
    return (unsigned)c < LANE_CLASSES ? names[c] : "unknown";
}

int class_parse(enum lane_class *ret, const char *name, struct error *err)
{
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        if (strcmp(name, names[c]) == 0) {
            *ret = (enum lane_class)c;
            return 0;
        }
    return error_set(err, EINVAL, "\"%.40s\" is no class: control, inference, parameter or bulk", name);
}
