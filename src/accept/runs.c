/* The runs, each made at most once however many rows read from it. Seconds are what they took on two cores; they steer the
 * progress bar and, ten times over, say when one is given up. */
#include "accept/row.h"

#define SIM(file)  "build/main/src/cli/meridian sim run --json scenarios/" file ".yaml"
#define LAB(file)  "build/main/src/cli/meridian lab run --json scenarios/" file ".yaml"
#define TEST(file) "tests/integration/" file

const struct accept_run accept_runs[] = {
    /* virtual time */
    {"sim-overload-2to1", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("overload-2to1"), NULL, 4, 4, NULL},
    {"sim-overload-8to1", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("overload-8to1"), NULL, 6, 6, NULL},
    {"sim-victim", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("victim"), NULL, 6, 6, NULL},
    {"sim-two-tenants-one-port", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("two-tenants-one-port"), NULL, 6, 6, NULL},
    {"sim-control-loss", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("control-loss"), NULL, 6, 6, NULL},
    {"sim-ring-deadlock", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("ring-deadlock"), NULL, 6, 6, NULL},
    {"sim-long-haul", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("long-haul"), NULL, 6, 6, NULL},
    {"sim-slices", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("slices"), NULL, 6, 6, NULL},
    {"sim-attribution", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("attribution"), NULL, 6, 6, NULL},
    /* real routers and hosts in namespaces */
    {"lab-two-campuses", ACCEPT_JSON, ACCEPT_LAB, LAB("lab-two-campuses"), NULL, 20, 20, NULL},
    {"sim-one-plus-one", ACCEPT_JSON, ACCEPT_SIMULATED, SIM("one-plus-one"), NULL, 6, 6, NULL},
    {"sim-control", ACCEPT_JSON, ACCEPT_SIMULATED,
        "build/main/src/cli/meridian sim control --json --pes 200 --faults 24", "", 20, 20, NULL},
    {"lab-two-tenants", ACCEPT_JSON, ACCEPT_LAB, LAB("lab-two-tenants"), NULL, 20, 20, NULL},
    {"group-no-it", ACCEPT_JSON, ACCEPT_LAB, LAB("group-no-it"), "", 110, 110, NULL},
    {"group-it", ACCEPT_JSON, ACCEPT_LAB, LAB("group-it"), "", 110, 110, NULL},
    {"clinic", ACCEPT_JSON, ACCEPT_LAB, LAB("clinic"), "", 70, 70, NULL},
    {"group-in-clear", ACCEPT_TEST, ACCEPT_LAB, "tests/chain/group.py", "", 240, 240, NULL},
    {"alliance", ACCEPT_JSON, ACCEPT_LAB, LAB("alliance"), "", 150, 150, NULL},
    /* tests with real processes and peers */
    {"alliance-killed", ACCEPT_TEST, ACCEPT_LAB, "tests/chain/kills.sh", "", 200, 200, NULL},
    {"bgp-routers", ACCEPT_TEST, ACCEPT_LAB, TEST("router_bgp.py"), NULL, 60, 60, NULL},
    {"customers", ACCEPT_TEST, ACCEPT_LAB, TEST("router_customer.py"), "", 60, 60, NULL},
    {"encrypted", ACCEPT_TEST, ACCEPT_LAB, TEST("xsec_bgp.py"), NULL, 90, 90, NULL},
    {"esp-tshark", ACCEPT_TEST, ACCEPT_EMULATED, TEST("esp_tshark.py"), NULL, 15, 15, NULL},
    {"one-plus-one", ACCEPT_TEST, ACCEPT_LAB, TEST("one_plus_one.py"), NULL, 30, 30, NULL},
    {"uploads", ACCEPT_TEST, ACCEPT_LIVE, TEST("uploads.py"), NULL, 10, 10, NULL},
    {"elephants", ACCEPT_TEST, ACCEPT_EMULATED, "build/main/src/telemetry/elephant_test", NULL, 5, 5, NULL},
    {"overload", ACCEPT_TEST, ACCEPT_LAB, TEST("router_overload.py"), NULL, 20, 20, NULL},
    {"end-to-end", ACCEPT_TEST, ACCEPT_LAB, TEST("router_end_to_end.py"), NULL, 25, 25, NULL},
    {"operations", ACCEPT_TEST, ACCEPT_LAB, TEST("router_operations.py"), NULL, 30, 30, NULL},
    {"kernel-srv6", ACCEPT_TEST, ACCEPT_LAB, TEST("kernel_srv6.py"), NULL, 10, 10, NULL},
    {"tshark", ACCEPT_TEST, ACCEPT_EMULATED, TEST("forward_tshark.py"), NULL, 10, 10, NULL},
    {"collectors", ACCEPT_TEST, ACCEPT_LIVE, TEST("ipfix_collectors.py"), NULL, 15, 15, NULL},
    {"bgp-gobgp", ACCEPT_TEST, ACCEPT_LIVE, TEST("bgp_gobgp.py"), "", 20, 20, NULL},
    {"bgp-malformed", ACCEPT_TEST, ACCEPT_LIVE, TEST("bgp_malformed.py"), "", 20, 20, NULL},
    {"recovery", ACCEPT_TEST, ACCEPT_LIVE, TEST("recovery.py"), NULL, 30, 30, NULL},
    {"train-processes", ACCEPT_TEST, ACCEPT_LIVE, TEST("train_processes.py"), "", 30, 30, NULL},
    {"train-resume", ACCEPT_TEST, ACCEPT_LIVE, TEST("train_resume.py"), NULL, 30, 30, NULL},
    {"cloud-processes", ACCEPT_TEST, ACCEPT_LIVE, TEST("cloud_processes.py"), "", 30, 30, NULL},
    {"leak-search", ACCEPT_TEST, ACCEPT_LIVE, TEST("leak_search.py"), "", 60, 60, NULL},
    /* measurements */
    {"bench-lanes", ACCEPT_FIGURES, ACCEPT_SIMULATED, "bench/run lanes", "QUICK=1 bench/run lanes", 900, 90, "lanes"},
    {"bench-forward", ACCEPT_FIGURES, ACCEPT_EMULATED, "bench/run forward", "QUICK=1 bench/run forward", 120, 40,
        "forward"},
    {"bench-sim", ACCEPT_FIGURES, ACCEPT_LAB, "bench/run sim", "", 180, 90, "sim"},
    {"bench-xsec", ACCEPT_FIGURES, ACCEPT_EMULATED, "bench/run xsec", "", 120, 60, "xsec"},
    {"bench-bgp", ACCEPT_FIGURES, ACCEPT_LIVE, "bench/run bgp", "", 240, 60, "bgp"},
    {"bench-flow", ACCEPT_FIGURES, ACCEPT_LAB, "bench/run flow", "QUICK=1 bench/run flow", 60, 30, "flow"},
    {"bench-sites", ACCEPT_FIGURES, ACCEPT_LAB, "bench/run sites", "", 180, 60, "sites"},
    {"bench-split", ACCEPT_FIGURES, ACCEPT_LIVE, "bench/run split", "", 1500, 240, "split"},
};
const size_t accept_n_runs = sizeof(accept_runs) / sizeof(*accept_runs);
