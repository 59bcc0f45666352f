/* Help and the man page, both from the verbs' tables. */
#include "cli/args.h"

#include <stdio.h>
#include <string.h>

static void print_lines(const char *text, const char *indent)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        printf("%s%.*s\n", len ? indent : "", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

void cli_help_verb(const struct cli_verb *v)
{
    printf("meridian %s: %s\n\nusage: meridian %s %s%s\n\n", v->name, v->summary, v->name,
        v->options ? "[OPTION...] " : "", v->operands);
    print_lines(v->about, "");
    printf("\nOptions\n");
    for (const struct cli_option *o = v->options; o && o->name; o++) {
        char left[64];
        char letter[] = {' ', '-', o->letter, 0};
        snprintf(left, sizeof(left), "--%s%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "",
            o->letter ? letter : "");
        printf("  %-26s%s %s", left, strlen(left) > 25 ? "\n                           " : "", o->help);
        if (o->fallback)
            printf(" (default %s)", o->fallback);
        printf("\n");
    }
    printf("  %-26s %s\n\nExample\n", "--help", "print this");
    print_lines(v->example, "  ");
}

void cli_help_all(void)
{
    printf("meridian: train and use a large model whose middle runs in a rented data centre\n\n"
           "usage: meridian VERB [OPTION...] [OPERAND...]      meridian VERB --help shows an example\n");
    const char *section = "";
    for (size_t i = 0; cli_verbs[i]; i++) {
        const struct cli_verb *v = cli_verbs[i];
        if (!v->section)
            continue;
        if (strcmp(section, v->section))
            printf("\n%s\n", section = v->section);
        printf("  %-18s %s\n", v->name, v->summary);
    }
    printf("\n  %-18s %s\n  %-18s %s\n", "--version", "print the version", "help --man", "print the man page's source");
}

/* Text for mdoc: a leading dot or quote would be a macro, a backslash an escape. */
static void man_text(const char *text)
{
    for (const char *p = text; *p; p++) {
        if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\''))
            fputs("\\&", stdout);
        if (*p == '\\')
            fputs("\\e", stdout);
        else if (*p == '-')
            fputs("\\-", stdout);
        else
            putchar(*p);
    }
    putchar('\n');
}

void cli_help_man(void)
{
    printf(".Dd 2026\n.Dt MERIDIAN 1\n.Os\n.Sh NAME\n.Nm meridian\n"
           ".Nd train and use a large model whose middle runs in a rented data centre\n"
           ".Sh SYNOPSIS\n.Nm\n.Ar verb\n.Op Ar option ...\n.Op Ar operand ...\n.Sh VERBS\n");
    for (size_t i = 0; cli_verbs[i]; i++) {
        const struct cli_verb *v = cli_verbs[i];
        if (!v->section)
            continue;
        printf(".Ss meridian %s %s\n", v->name, v->operands);
        man_text(v->summary);
        printf(".Pp\n");
        man_text(v->about);
        printf(".Bl -tag -width Ds\n");
        for (const struct cli_option *o = v->options; o && o->name; o++) {
            char letter[] = ", Fl x";
            letter[5] = o->letter;
            printf(
                ".It Fl Fl %s%s%s%s\n", o->name, o->arg ? " Ar " : "", o->arg ? o->arg : "", o->letter ? letter : "");
            man_text(o->help);
            if (o->fallback)
                printf("Default: %s\n", o->fallback);
        }
        printf(".El\n.Pp\nExample:\n.Bd -literal -offset indent\n");
        man_text(v->example);
        printf(".Ed\n");
    }
    printf(".Sh EXIT STATUS\n0 on success, 1 when the work failed, 2 when the command line was wrong.\n");
}
