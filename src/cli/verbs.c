/* The verbs, in the order in which the help shows them. One line a verb; each lives in its own verb_*.c. */
#include "cli/verbs.h"

#include <stddef.h>

const struct cli_verb *const cli_verbs[] = {
    &verb_model_inspect,
    &verb_model_init,
    &verb_model_split,
    &verb_model_merge,
    &verb_model_quantize,
    &verb_model_grow,
    &verb_tokenize,
    &verb_bench,
    &verb_edge_join,
    &verb_edge_run,
    &verb_edge_renew,
    &verb_edge_key_add,
    &verb_edge_key_list,
    &verb_edge_key_remove,
    &verb_chat,
    &verb_train,
    &verb_cloud_run,
    &verb_cloud_invite,
    &verb_cloud_list,
    &verb_cloud_revoke,
    &verb_cloud_issuer,
    &verb_router,
    &verb_router_key,
    &verb_roce_send,
    &verb_roce_receive,
    &verb_lab_clean,
    &verb_sim_run,
    &verb_bgp_reflect,
    &verb_bgp_show,
    &verb_cloud_enrol_process,
    &verb_cloud_worker_process,
    NULL,
};
