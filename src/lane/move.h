/* Moving a lane to another path without losing or reordering a packet.
 *
 * A move opens a second lane that names the first as its predecessor, and changes nothing until every router of the new
 * path has accepted. Then, in one step at the ingress: the end-marker goes into the first lane's queue behind its last
 * packet, packets go into the second lane from now on, and the first is closed as soon as it has drained. At the egress
 * packets of the second lane wait, in queues of their own that are held, until the first lane has ended: by its marker, which
 * has passed every queue of the old path, or by its CLOSE, which is sent hop by hop behind the last packet and does the same
 * if the marker was lost. Then the second lane's queues are appended to the first one's and go on as one.
 *
 * What waits is bounded: it occupies cells of the second lane's own window, and nobody else's.
 *
 * *Reverting.* If the end has not come within move_ns the old path is slow or stalled, and the move did not help. Going back
 * must not overtake either what is still in the old path or what already waits at the egress; and a lane in which packets
 * follow the marker would lose its order if the marker were lost. So a lane is only ever left once: the revert is itself a
 * move, of the second lane to a third one over the old path. The egress has a chain, first, second, third, each waiting for
 * the end of the one before. Nothing is discarded, nothing overtakes, however slow each of them is; and a revert that
 * cannot be admitted, or that the first lane's end forestalls, is given up without a trace.
 *
 * *A predecessor that dies* ends all the same. The router behind the break still forwards what it had, and its CLOSE comes
 * behind that; what was upstream of the break is discarded, and counted. So the second lane waits for what did get through
 * and for nothing else, and a lane that is dead already is moved in the same way, at once. A lane that is opened again over
 * its own path after a break is its own successor: the egress knows it by its id. */
#ifndef MERIDIAN_LANE_MOVE_H
#define MERIDIAN_LANE_MOVE_H

#include "lane/lane.h"

#endif
