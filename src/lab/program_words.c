#include "lab/program_words.h"

#include "lab/program.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct lab_words *w, const char *word)
{
    if (w->n < LAB_WORDS)
        w->word[w->n] = word;
    w->n++;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct lab_words *w, const char *fmt, ...)
{
    va_list list;
    if (w->n_texts == LAB_WORD_TEXTS) {
        w->n = LAB_WORDS; /* told as too long */
        return;
    }
    char *to = w->text[w->n_texts++];
    va_start(list, fmt);
    vsnprintf(to, LAB_PATH_SIZE, fmt, list);
    va_end(list);
    add(w, to);
}

/* Words between spaces. */
static void add_options(struct lab_words *w, const char *text)
{
    for (const char *at = text ? text : ""; *(at += strspn(at, " "));) {
        size_t n = strcspn(at, " ");
        add_text(w, "%.*s", (int)n, at);
        at += n;
    }
}

static int whole(struct lab_words *w, const char *name, struct error *err)
{
    if (w->n >= LAB_WORDS)
        return error_set(err, E2BIG, "program %s: its command line has too many words", name);
    w->word[w->n] = NULL;
    return 0;
}

void lab_host_text(char ret[64], const struct lab_world *world, uint32_t host, uint32_t vpn)
{
    uint32_t at = scenario_reached_at(world->plan->scenario, host, vpn);
    const struct plan_host *h = &world->plan->hosts[at == SCENARIO_NONE ? host : at];
    const struct ip_prefix *p = h->address4.family ? &h->address4 : &h->address6;
    char text[IP_TEXT_SIZE];
    snprintf(ret, 64, "%s", ip_addr_print(text, &(struct ip_addr){p->family, p->a}));
}

const char *lab_hospital(const struct lab_world *world, uint32_t program)
{
    const struct scenario *s = world->plan->scenario;
    return s->vpns[s->hosts[s->programs[program].host].vpn].tenant;
}

static void cloud(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p)
{
    add(w, world->program), add(w, "cloud"), add(w, "run"), add(w, "--dir"), add_text(w, "%s", p->name);
    add(w, "--listen"), add_text(w, "[::]:%u", LAB_CLOUD_PORT);
}

/* The identity that this site got from that cloud. */
static void identity(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p)
{
    add(w, "--edge"), add(w, p->model), add(w, "--identity");
    add_text(w, "identity-%s", world->plan->scenario->programs[p->cloud].name);
    add(w, "--unsafe-keylog"), add(w, "keylog.txt");
    if (p->half)
        add(w, "--cloud-half"), add(w, p->half);
}

static void train(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p, bool again)
{
    add(w, world->program), add(w, "train");
    identity(w, world, p);
    add(w, "--data"), add(w, p->data), add(w, "--out"), add(w, p->name), add(w, "--json");
    if (again)
        add(w, "--resume");
}

static void edge(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p)
{
    add(w, world->program), add(w, "edge"), add(w, "run");
    identity(w, world, p);
    add(w, "--listen"), add_text(w, "*:%u", LAB_EDGE_PORT); /* of all cables of its machine */
    add(w, "--keys"), add(w, "edge.keys"), add(w, "--model-id"), add(w, p->name);
}

/* The address where the program `to` is reached from this one. */
static void reached(char ret[64], const struct lab_world *world, const struct scenario_program *p, uint32_t to)
{
    const struct scenario *s = world->plan->scenario;
    lab_host_text(ret, world, s->programs[to].host, s->hosts[p->host].vpn);
}

static void chat(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p, int64_t left_ns)
{
    char there[64], folder[LAB_PATH_SIZE];
    reached(there, world, p, p->edge);
    lab_program_folder(folder, world, world->plan->scenario->programs[p->edge].host);
    add(w, world->program), add(w, "lab"), add(w, "chat"), add(w, "--url");
    add_text(w, "http://%s:%u", there, LAB_EDGE_PORT);
    add(w, "--key-file"), add_text(w, "%.480s/lab.key", folder);
    add(w, "--users"), add_text(w, "%u", p->users);
    add(w, "--tokens"), add_text(w, "%u", p->tokens);
    add(w, "--for"), add_text(w, "%lldns", (long long)left_ns);
    if (p->data)
        add(w, "--questions"), add(w, p->data);
}

static void files(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p)
{
    char at[64];
    reached(
        at, world, p, p->kind == SCENARIO_PROGRAM_RECEIVE ? (uint32_t)(p - world->plan->scenario->programs) : p->to);
    add(w, world->program), add(w, "lab");
    if (p->kind == SCENARIO_PROGRAM_RECEIVE) {
        add(w, "receive"), add(w, "--listen"), add_text(w, "%s:%u", at, LAB_RECEIVE_PORT);
        add(w, "--dir"), add(w, p->name);
    } else {
        add(w, "send"), add(w, p->data), add(w, "--url"), add_text(w, "http://%s:%u", at, LAB_RECEIVE_PORT);
    }
}

static void dicom(struct lab_words *w, const struct lab_world *world, const struct scenario_program *p)
{
    char there[64];
    if (p->kind == SCENARIO_PROGRAM_STORESCP) {
        add(w, "storescp"), add(w, "--verbose"), add(w, "--output-directory"), add(w, p->name);
        add_text(w, "%u", LAB_DICOM_PORT);
        return;
    }
    reached(there, world, p, p->to);
    add(w, "storescu"), add(w, "--verbose"), add_text(w, "%s", there), add_text(w, "%u", LAB_DICOM_PORT);
    add(w, "--scan-directories"), add(w, "--recurse"), add(w, p->data);
}

static void environment(struct lab_words *w, const struct lab_world *world, uint32_t host, uint32_t to)
{
    const struct scenario *s = world->plan->scenario;
    char text[64];
    add_text(w, "MERIDIAN=%s", world->program);
    add_text(w, "LAB=%.400s", lab_journal_folder(world->journal));
    for (uint32_t i = 0; i < s->n_programs; i++)
        if (s->programs[i].kind == SCENARIO_PROGRAM_CLOUD && world->cloud_pid)
            add_text(w, "CLOUD_PID=%d", (int)world->cloud_pid);
    add_text(w, "SCENARIO=%.400s", world->scenario_folder);
    if (host == SCENARIO_NONE)
        return;
    lab_host_text(text, world, host, s->hosts[host].vpn);
    add_text(w, "FROM=%s", text);
    add_text(w, "DEVICE=%s", world->places[world->place_of_host[host]].device);
    if (to == SCENARIO_NONE)
        return;
    lab_host_text(text, world, s->programs[to].host, s->hosts[host].vpn);
    add_text(w, "TO=%s", text);
}

int lab_shell_words(struct lab_words *w, const struct lab_world *world, uint32_t host, uint32_t to, const char *folder,
    const char *command, struct error *err)
{
    add(w, "env"), add(w, "-C"), add_text(w, "%s", folder);
    environment(w, world, host, to);
    add(w, "sh"), add(w, "-c"), add(w, command);
    return whole(w, "", err);
}

int lab_program_words(struct lab_words *w, const struct lab_world *world, uint32_t program, bool again,
    int64_t duration_ns, struct error *err)
{
    const struct scenario_program *p = &world->plan->scenario->programs[program];
    char folder[LAB_PATH_SIZE];
    lab_program_folder(folder, world, p->host);
    if (p->kind == SCENARIO_PROGRAM_COMMAND)
        return lab_shell_words(w, world, p->host, p->to, folder, p->command, err);
    add(w, "env"), add(w, "-C"), add_text(w, "%s", folder);
    if (p->kind == SCENARIO_PROGRAM_CLOUD)
        cloud(w, world, p);
    else if (p->kind == SCENARIO_PROGRAM_TRAIN)
        train(w, world, p, again);
    else if (p->kind == SCENARIO_PROGRAM_EDGE)
        edge(w, world, p);
    else if (p->kind == SCENARIO_PROGRAM_CHAT)
        chat(w, world, p, duration_ns);
    else if (p->kind == SCENARIO_PROGRAM_RECEIVE || p->kind == SCENARIO_PROGRAM_SEND)
        files(w, world, p);
    else
        dicom(w, world, p);
    add_options(w, p->options);
    return whole(w, p->name, err);
}
