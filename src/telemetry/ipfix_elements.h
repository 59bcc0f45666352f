/* The information elements that we export by IPFIX: this header registers them all, and nothing else does.
 *
 * Standard ones wherever IANA has them (https://www.iana.org/assignments/ipfix), so that any collector makes sense of
 * flows. Ours stand under a private enterprise number; we have none, so the default is 32473, the one that RFC 5612
 * reserves for documentation: an operator sets his own in the exporter's configuration (struct export_config). Their names,
 * types and units travel with the data (RFC 5610). docs/telemetry.md shows this table; a test compares the two.
 *
 * A number once given keeps its meaning. */
#ifndef MERIDIAN_TELEMETRY_IPFIX_ELEMENTS_H
#define MERIDIAN_TELEMETRY_IPFIX_ELEMENTS_H

#include <stdbool.h>
#include <stdint.h>

#define IPFIX_ENTERPRISE_DOCUMENTATION 32473u /* RFC 5612 */

/* Data types as RFC 5610, 3.1 numbers them. */
enum ipfix_type {
    IPFIX_UNSIGNED8 = 1,
    IPFIX_UNSIGNED16 = 2,
    IPFIX_UNSIGNED32 = 3,
    IPFIX_UNSIGNED64 = 4,
    IPFIX_STRING = 13,
    IPFIX_MILLISECONDS = 15,
    IPFIX_NANOSECONDS = 17,
    IPFIX_IPV4 = 18,
    IPFIX_IPV6 = 19,
};

enum ipfix_semantics { IPFIX_DEFAULT, IPFIX_QUANTITY, IPFIX_TOTAL, IPFIX_DELTA, IPFIX_IDENTIFIER };

/* RFC 5610, 3.4, and IANA's registry after it. */
enum ipfix_units { IPFIX_NONE, IPFIX_BITS, IPFIX_OCTETS, IPFIX_PACKETS, IPFIX_NS = 8 };

/* X(enumerator, name, number, type) */
#define IPFIX_IANA_ELEMENTS(X)                                                                                         \
    X(OCTET_DELTA_COUNT, octetDeltaCount, 1, UNSIGNED64)                                                               \
    X(PACKET_DELTA_COUNT, packetDeltaCount, 2, UNSIGNED64)                                                             \
    X(PROTOCOL_IDENTIFIER, protocolIdentifier, 4, UNSIGNED8)                                                           \
    X(SOURCE_TRANSPORT_PORT, sourceTransportPort, 7, UNSIGNED16)                                                       \
    X(SOURCE_IPV4_ADDRESS, sourceIPv4Address, 8, IPV4)                                                                 \
    X(INGRESS_INTERFACE, ingressInterface, 10, UNSIGNED32)                                                             \
    X(DESTINATION_TRANSPORT_PORT, destinationTransportPort, 11, UNSIGNED16)                                            \
    X(DESTINATION_IPV4_ADDRESS, destinationIPv4Address, 12, IPV4)                                                      \
    X(EGRESS_INTERFACE, egressInterface, 14, UNSIGNED32)                                                               \
    X(SOURCE_IPV6_ADDRESS, sourceIPv6Address, 27, IPV6)                                                                \
    X(DESTINATION_IPV6_ADDRESS, destinationIPv6Address, 28, IPV6)                                                      \
    X(INTERFACE_NAME, interfaceName, 82, STRING)                                                                       \
    X(OCTET_TOTAL_COUNT, octetTotalCount, 85, UNSIGNED64)                                                              \
    X(PACKET_TOTAL_COUNT, packetTotalCount, 86, UNSIGNED64)                                                            \
    X(DROPPED_PACKET_DELTA_COUNT, droppedPacketDeltaCount, 133, UNSIGNED64)                                            \
    X(DROPPED_PACKET_TOTAL_COUNT, droppedPacketTotalCount, 135, UNSIGNED64)                                            \
    X(FLOW_END_REASON, flowEndReason, 136, UNSIGNED8)                                                                  \
    X(FLOW_ID, flowId, 148, UNSIGNED64)                                                                                \
    X(OBSERVATION_DOMAIN_ID, observationDomainId, 149, UNSIGNED32)                                                     \
    X(FLOW_START_MILLISECONDS, flowStartMilliseconds, 152, MILLISECONDS)                                               \
    X(FLOW_END_MILLISECONDS, flowEndMilliseconds, 153, MILLISECONDS)                                                   \
    X(INGRESS_VRF_ID, ingressVRFID, 234, UNSIGNED32)                                                                   \
    X(INFORMATION_ELEMENT_ID, informationElementId, 303, UNSIGNED16)                                                   \
    X(OBSERVATION_TIME_MILLISECONDS, observationTimeMilliseconds, 323, MILLISECONDS)                                   \
    X(OBSERVATION_TIME_NANOSECONDS, observationTimeNanoseconds, 325, NANOSECONDS)                                      \
    X(INFORMATION_ELEMENT_DATA_TYPE, informationElementDataType, 339, UNSIGNED8)                                       \
    X(INFORMATION_ELEMENT_NAME, informationElementName, 341, STRING)                                                   \
    X(INFORMATION_ELEMENT_SEMANTICS, informationElementSemantics, 344, UNSIGNED8)                                      \
    X(INFORMATION_ELEMENT_UNITS, informationElementUnits, 345, UNSIGNED16)                                             \
    X(PRIVATE_ENTERPRISE_NUMBER, privateEnterpriseNumber, 346, UNSIGNED32)

/* X(enumerator, name, number, type, semantics, units, what it means) */
#define IPFIX_OUR_ELEMENTS(X)                                                                                          \
    X(TENANT_ID, tenantId, 1, UNSIGNED32, IDENTIFIER, NONE, "slice of the tenant; 0: none")                            \
    X(LANE_ID, laneId, 2, UNSIGNED64, IDENTIFIER, NONE, "global id of the lane; 0: none")                              \
    X(TRAFFIC_CLASS, trafficClass, 3, UNSIGNED8, IDENTIFIER, NONE,                                                     \
        "0 control, 1 inference, 2 parameter plane, 3 bulk")                                                           \
    X(BIT_RATE, bitRate, 4, UNSIGNED64, QUANTITY, BITS, "bits a second")                                               \
    X(ELEPHANT_STATE, elephantState, 5, UNSIGNED8, IDENTIFIER, NONE, "0 new, 1 still, 2 gone")                         \
    X(LOSS_REASON, lossReason, 6, UNSIGNED8, IDENTIFIER, NONE, "why packets were lost, see below")                     \
    X(LOST_CELL_DELTA_COUNT, lostCellDeltaCount, 7, UNSIGNED64, DELTA, NONE, "cells of lanes lost with these packets") \
    X(LOST_CELL_TOTAL_COUNT, lostCellTotalCount, 8, UNSIGNED64, TOTAL, NONE, "cells of lanes lost")                    \
    X(MARKING_PERIOD, markingPeriod, 9, UNSIGNED64, IDENTIFIER, NONE, "number of the alternate-marking period")        \
    X(MARKING_ROLE, markingRole, 10, UNSIGNED8, IDENTIFIER, NONE, "0 ingress, 1 transit, 2 egress")                    \
    X(SENT_PACKET_TOTAL_COUNT, sentPacketTotalCount, 11, UNSIGNED64, TOTAL, PACKETS, "packets sent")                   \
    X(SENT_OCTET_TOTAL_COUNT, sentOctetTotalCount, 12, UNSIGNED64, TOTAL, OCTETS, "bytes sent")                        \
    X(LINK_STATE, linkState, 13, UNSIGNED8, IDENTIFIER, NONE, "0 down, 1 up")                                          \
    X(RESERVED_CELLS, reservedCells, 14, UNSIGNED32, QUANTITY, NONE, "cells of the port's pool promised to lanes")     \
    X(POOL_CELLS, poolCells, 15, UNSIGNED32, QUANTITY, NONE, "cells of the port's pool")                               \
    X(QUEUED_CELLS, queuedCells, 16, UNSIGNED32, QUANTITY, NONE, "cells waiting to be sent")                           \
    X(PEAK_CELLS, peakCells, 17, UNSIGNED32, QUANTITY, NONE, "most cells that ever waited")                            \
    X(WINDOW_CELLS, windowCells, 18, UNSIGNED32, QUANTITY, NONE, "the lane's window at its receiver")                  \
    X(OCCUPIED_CELLS, occupiedCells, 19, UNSIGNED32, QUANTITY, NONE, "cells of that window in use")                    \
    X(CREDIT_CELLS, creditCells, 20, UNSIGNED32, QUANTITY, NONE, "cells that may be sent to the next hop now")         \
    X(LANE_STATE, laneState, 21, UNSIGNED8, IDENTIFIER, NONE,                                                          \
        "0 opening, 1 running, 2 waits for credit, 3 paused, 4 held, 5 discarded")                                     \
    X(MARKED_PACKET_TOTAL_COUNT, markedPacketTotalCount, 22, UNSIGNED64, TOTAL, PACKETS, "packets marked ECN-CE")      \
    X(LINK_EVENT, linkEvent, 23, UNSIGNED8, IDENTIFIER, NONE, "what happened to a link or lane, see below")            \
    X(PEER_ROUTER_ID, peerRouterId, 24, UNSIGNED64, IDENTIFIER, NONE, "router at the other end; 0: not known")         \
    X(EVENT_DETAIL, eventDetail, 25, UNSIGNED32, IDENTIFIER, NONE,                                                     \
        "more on the event, such as why a lane was refused")                                                           \
    X(ROUND_TRIP_TIME, roundTripTime, 26, UNSIGNED64, QUANTITY, NS, "over the link and back; 0: not known")

#define IPFIX_ELEMENT_ENUM(name_, ...) IPFIX_E_##name_,
enum ipfix_element {
    IPFIX_IANA_ELEMENTS(IPFIX_ELEMENT_ENUM) IPFIX_OUR_ELEMENTS(IPFIX_ELEMENT_ENUM) IPFIX_ELEMENTS,
};
#undef IPFIX_ELEMENT_ENUM

struct ipfix_element_info {
    const char *name;
    bool ours;
    uint16_t id;
    uint8_t type, semantics, units; /* of ours only, but for type */
    const char *meaning;
};

extern const struct ipfix_element_info ipfix_element_info[IPFIX_ELEMENTS];
uint16_t ipfix_element_len(enum ipfix_element e); /* as in templates: 0xffff for strings */
const char *ipfix_type_name(uint8_t type);        /* "unsigned64", … */

#endif
