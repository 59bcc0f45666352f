/* The report for people: one file, nothing fetched. A summary, then a row for each clause and figure that unfolds. */
#include "accept/accept.h"
#include "accept/runner.h"

#include <string.h>

static const char style[] =
    ":root{--ink:#1d2733;--soft:#5b6876;--line:#dde3e9;--paper:#fff;--ground:#f4f6f8;--met:#1b7f4b;--not:#b3261e;--"
    "here:#8a6100;"
    "--untried:#5b6876}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#2c3742;--paper:#18202a;--ground:#"
    "10161d;"
    "--met:#4cc38a;--not:#ff8a80;--here:#e0b04c}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 "
    "system-ui,sans-serif}"
    "main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 "
    "4px}h2{font-size:17px;margin:36px "
    "0 10px}p{margin:4px 0}.soft{color:var(--soft)}.sum{display:flex;gap:12px;flex-wrap:wrap;margin:20px 0}.sum "
    "div{flex:1 1 150px;background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:12px 16px}.sum "
    "b{display:block;font-size:30px;line-height:1.2}details{background:var(--paper);border:1px solid "
    "var(--line);border-radius:10px;margin:6px 0}summary{cursor:pointer;display:grid;grid-template-columns:52px 1fr "
    "auto "
    "auto;gap:12px;align-items:baseline;padding:10px 14px;list-style:none}summary::-webkit-details-marker{display:none}"
    "summary .id{font-weight:700}.body{padding:2px 14px 14px;border-top:1px solid var(--line)}dl{display:grid;"
    "grid-template-columns:130px 1fr;gap:6px 12px;margin:12px 0}dt{color:var(--soft)}dd{margin:0}table{border-collapse:"
    "collapse;width:100%}th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid "
    "var(--line);vertical-align:top}"
    "th{color:var(--soft);font-weight:500}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:"
    "13px;"
    "overflow-wrap:anywhere}.v{font-weight:600;white-space:nowrap}.v0{color:var(--met)}.v1{color:var(--not)}.v2{color:"
    "var(--here)}.v3{color:var(--untried)}a{color:inherit}@media(max-width:640px){summary{grid-template-columns:44px "
    "1fr}"
    "dl{grid-template-columns:1fr}}";

/* Text from tables, programs and people, as text. */
static void put(FILE *f, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        case '\'':
            fputs("&#39;", f);
            break;
        default:
            fputc(*s, f);
        }
}

static void entry(FILE *f, const char *term, const char *text)
{
    if (!text || !*text)
        return;
    fprintf(f, "<dt>%s</dt><dd>", term);
    put(f, text);
    fputs("</dd>", f);
}

static void evidence(FILE *f, const struct accept_run *run)
{
    static const char *const suffix[] = {"json", "figures.json", "out"};
    fprintf(f, "<a href=\"evidence/%s.%s\">result</a>, <a href=\"evidence/%s.log\">log</a>", run->name,
        suffix[run->form], run->name);
}

static void check(FILE *f, const struct accept_check *c, const struct accept_finding *g, bool quick)
{
    static const char *const relations[] = {"=", "≤", "≥", "any, printed"};
    const struct accept_run *run = accept_run_find(c->run);
    fputs("<tr><td>", f);
    put(f, c->what);
    if (*g->why && !(g->there && !g->holds && run->form != ACCEPT_TEST)) {
        fputs("<br><span class=soft>", f);
        put(f, g->why);
        fputs("</span>", f);
    }
    fputs("</td><td class=n>", f);
    if (run->form == ACCEPT_TEST)
        fputs(!g->there ? "–" : g->holds ? "passed" : "failed", f);
    else if (g->there)
        fprintf(f, "%.6g", g->value);
    else
        fputs("–", f);
    fprintf(f, "</td><td class=n>%s", run->form == ACCEPT_TEST ? "passes" : relations[c->relation]);
    if (run->form != ACCEPT_TEST && c->relation != ACCEPT_PRINTED)
        fprintf(f, " %.6g", c->bound);
    fprintf(f, "</td><td class=n>%s</td><td><code>", accept_label_name(run->label));
    put(f, accept_run_command(run, quick));
    fputs("</code><br><span class=soft>", f);
    evidence(f, run);
    fputs("</span></td></tr>", f);
}

static void row(FILE *f, const struct accept_row *r, const struct accept_judgement *j, bool quick)
{
    fprintf(f, "<details id=\"%s\"><summary><span class=id>%s</span><span>", r->id, r->id);
    put(f, r->title);
    fprintf(f, "</span><span class=soft>%s</span><span class=\"v v%u\">%s</span></summary><div class=body><dl>",
        j->n ? accept_label_name(j->label) : "", (unsigned)j->verdict, accept_verdict_name(j->verdict));
    if (j->verdict != ACCEPT_MET)
        entry(f, "Why", j->why);
    entry(f, "The standard", r->standard);
    entry(f, "Our goal", r->goal);
    entry(f, "What was done", r->did);
    fputs("</dl>", f);
    if (j->n)
        fputs("<table><tr><th>figure</th><th>value</th><th>goal</th><th>how</th><th>command and evidence</th></tr>", f);
    for (unsigned i = 0; i < j->n; i++)
        check(f, &r->checks[i], &j->findings[i], quick);
    fputs(j->n ? "</table></div></details>\n" : "</div></details>\n", f);
}

static void top(FILE *f, const struct accept_result *r)
{
    char at[40];
    const struct accept_about *a = &r->about;
    strftime(at, sizeof(at), "%Y-%m-%d %H:%M UTC", gmtime(&a->started));
    fputs("<h1>Acceptance of the network</h1><p class=soft>Against T/NIDA 010-2025, clause by clause. ", f);
    fprintf(f, "%s, %.0f s%s, commit ", at, a->seconds, a->quick ? ", quick runs" : "");
    put(f, a->commit);
    fputs(", ", f);
    put(f, a->machine);
    fprintf(f, ", load %.1f before and %.1f after.</p>", a->load_before, a->load_after);
    if (a->interrupted)
        fputs("<p class=\"v v1\">Interrupted: what was not reached is not tried.</p>", f);
    fputs("<div class=sum>", f);
    for (unsigned v = 0; v < ACCEPT_VERDICTS; v++)
        if (r->count[v] || v < ACCEPT_UNTRIED)
            fprintf(f, "<div><b class=v%u>%u</b>%s</div>", v, r->count[v], accept_verdict_name((enum accept_verdict)v));
    fputs(
        "</div><p class=soft>Live: real programs on this machine. Lab: real routers and hosts in namespaces, emulated "
        "fibres. Emulated: the routers' code in one process. Simulated: the routers' code in virtual time. What this "
        "machine cannot show never counts as met.</p>",
        f);
}

static const char *family(const char *id)
{
    static const char *const names[] = {"SScenarios", "AArchitecture", "LWide-area losslessness", "THigh throughput",
        "XSecurity, xSEC", "RReliability and operations", "GUse", "FFigures"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i][0] == id[0])
            return names[i] + 1;
    return "Others";
}

int accept_write_html(FILE *f, const struct accept_rows *rows, const struct accept_result *r)
{
    char last = 0;
    fprintf(f,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
        "<title>Acceptance: %u met, %u not met</title><style>%s</style><main>",
        r->count[ACCEPT_MET], r->count[ACCEPT_NOT_MET], style);
    top(f, r);
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->row[i]->id[0] != last)
            fprintf(f, "<h2>%s</h2>", family(rows->row[i]->id));
        last = rows->row[i]->id[0];
        row(f, rows->row[i], &r->judgements[i], r->about.quick);
    }
    fputs("</main></html>\n", f);
    return 0;
}
