/* Command lines of programs. Internal. */
#ifndef MERIDIAN_LAB_PROGRAM_WORDS_H
#define MERIDIAN_LAB_PROGRAM_WORDS_H

#include "lab/world.h"

#define LAB_CLOUD_PORT   7443u
#define LAB_EDGE_PORT    8080u
#define LAB_RECEIVE_PORT 8090u
#define LAB_DICOM_PORT   11112u

#define LAB_WORDS      56
#define LAB_WORD_TEXTS 40

struct lab_words {
    const char *word[LAB_WORDS];
    char text[LAB_WORD_TEXTS][LAB_PATH_SIZE];
    unsigned n, n_texts;
};

/* What `program` is started with; `again`: it ran before and goes on. -E2BIG. */
int lab_program_words(struct lab_words *w, const struct lab_world *world, uint32_t program, bool again,
    int64_t duration_ns, struct error *err);
/* `sh -c command` with the environment that a person's commands get; host SCENARIO_NONE: of none. */
int lab_shell_words(struct lab_words *w, const struct lab_world *world, uint32_t host, uint32_t to, const char *folder,
    const char *command, struct error *err);

/* "10.1.0.2" where programs of `vpn` reach the machine of `host`; IPv4 where there is some. */
void lab_host_text(char ret[64], const struct lab_world *world, uint32_t host, uint32_t vpn);
/* Who a hospital is to a cloud: the tenant of the program's VPN. */
const char *lab_hospital(const struct lab_world *world, uint32_t program);

#endif
