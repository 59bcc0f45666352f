/* Every verb by name (verb_*.c define them). */
#ifndef MERIDIAN_CLI_VERBS_H
#define MERIDIAN_CLI_VERBS_H

#include "cli/verb.h"

extern const struct cli_verb verb_accept;
extern const struct cli_verb verb_chat;
extern const struct cli_verb verb_cloud_enrol_process;
extern const struct cli_verb verb_bench;
extern const struct cli_verb verb_bgp_reflect;
extern const struct cli_verb verb_bgp_show;
extern const struct cli_verb verb_cloud_invite;
extern const struct cli_verb verb_cloud_issuer;
extern const struct cli_verb verb_cloud_list;
extern const struct cli_verb verb_cloud_publish;
extern const struct cli_verb verb_cloud_revoke;
extern const struct cli_verb verb_cloud_run;
extern const struct cli_verb verb_cloud_worker_process;
extern const struct cli_verb verb_edge_join;
extern const struct cli_verb verb_edge_key_add;
extern const struct cli_verb verb_edge_key_list;
extern const struct cli_verb verb_edge_key_remove;
extern const struct cli_verb verb_edge_renew;
extern const struct cli_verb verb_edge_run;
extern const struct cli_verb verb_lab_chat;
extern const struct cli_verb verb_lab_clean;
extern const struct cli_verb verb_lab_receive;
extern const struct cli_verb verb_lab_run;
extern const struct cli_verb verb_lab_send;
extern const struct cli_verb verb_lab_udp_receive;
extern const struct cli_verb verb_lab_udp_send;
extern const struct cli_verb verb_model_grow;
extern const struct cli_verb verb_model_init;
extern const struct cli_verb verb_model_inspect;
extern const struct cli_verb verb_model_merge;
extern const struct cli_verb verb_model_quantize;
extern const struct cli_verb verb_model_split;
extern const struct cli_verb verb_roce_receive;
extern const struct cli_verb verb_roce_send;
extern const struct cli_verb verb_router;
extern const struct cli_verb verb_router_ctl;
extern const struct cli_verb verb_router_key;
extern const struct cli_verb verb_sim_control;
extern const struct cli_verb verb_sim_run;
extern const struct cli_verb verb_tokenize;
extern const struct cli_verb verb_top;
extern const struct cli_verb verb_train;
extern const struct cli_verb verb_twin_compare;
extern const struct cli_verb verb_upload;
extern const struct cli_verb verb_xsec_ca_init;
extern const struct cli_verb verb_xsec_enrol;
extern const struct cli_verb verb_xsec_request;
extern const struct cli_verb verb_xsec_revoke;
extern const struct cli_verb verb_xsec_show;

#endif
