/* The chat page (web/chat), inside the binary. */
#ifndef MERIDIAN_EDGE_PAGE_H
#define MERIDIAN_EDGE_PAGE_H

#include <stddef.h>
#include <stdint.h>

struct page_file {
    const char *path; /* "/", "/chat.js" */
    const char *type;
    const uint8_t *bytes;
    size_t len;
};

/* Ends with a NULL path. Generated from web/chat by tools/embed. */
extern const struct page_file page_files[];

#endif
