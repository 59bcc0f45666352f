/* Finds any of many byte patterns in files and in the memory of running processes; every occurrence is counted.
 *
 *   find PATTERNS TARGET...
 *
 * PATTERNS: a text file, a line "LABEL HEX" for each pattern, at least 4 bytes long. TARGET: a file, or pid:N for all
 * readable memory of process N. Prints "TARGET bytes N" for each target searched and "TARGET hit LABEL OFFSET" for
 * each of the first hits (at most 20 a target), "TARGET hits N". Exit 0: searched, nothing found; 1: something found;
 * 2: a target could not be searched, or more than a hundredth of a process could not be read (nothing found proves
 * nothing then). */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS (1u << 20)
#define CHUNK (8u << 20)
#define LONG  4096u /* longest pattern */

struct pattern {
    char label[96];
    uint8_t *bytes;
    size_t len;
    size_t anchor;        /* where in it the four bytes are that it is found by */
    struct pattern *next; /* same hash of those */
};

static struct pattern *table[SLOTS];
static uint8_t maybe[SLOTS / 8]; /* small enough to stay in the cache: most positions end here */

static uint32_t hash4(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return (v * 2654435761u) >> 12;
}

/* The four bytes that say most: memory is full of zeros and repeats, which must not lead to thousands of comparisons. */
static size_t best_anchor(const uint8_t *p, size_t len)
{
    size_t best = 0;
    int most = -1;
    for (size_t i = 0; i + 4 <= len && i < 64; i++) {
        int telling = 0;
        for (size_t k = i; k < i + 4; k++)
            telling += p[k] != 0 && (k == i || p[k] != p[k - 1]);
        if (telling > most) {
            most = telling;
            best = i;
        }
    }
    return best;
}

static int add_pattern(const char *label, const char *hex)
{
    size_t n = strlen(hex) / 2;
    if (n < 4 || n > LONG || strlen(hex) % 2)
        return -1;
    struct pattern *p = calloc(1, sizeof(*p));
    if (!p || !(p->bytes = malloc(n)))
        abort();
    snprintf(p->label, sizeof(p->label), "%s", label);
    for (size_t i = 0; i < n; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &p->bytes[i]) != 1)
            return -1;
    p->len = n;
    p->anchor = best_anchor(p->bytes, n);
    uint32_t h = hash4(p->bytes + p->anchor);
    p->next = table[h];
    table[h] = p;
    maybe[h / 8] |= (uint8_t)(1 << h % 8);
    return 0;
}

static int read_patterns(const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int n = 0;
    if (!f)
        return fprintf(stderr, "find: %s: %s\n", path, strerror(errno)), -1;
    while (getline(&line, &cap, f) > 0) {
        char *space = strrchr(line, ' ');
        line[strcspn(line, "\n")] = 0;
        if (!space || (*space = 0, add_pattern(line, space + 1)))
            return fprintf(stderr, "find: %s: line %d is not \"LABEL HEX\" of 4 to %u bytes\n", path, n + 1, LONG), -1;
        n++;
    }
    free(line);
    fclose(f);
    return n;
}

struct target {
    const char *name;
    uint64_t bytes, hits;
    uint64_t unread; /* bytes that are mapped readable but could not be read (a process that runs may unmap some) */
};

/* Patterns whose anchor lies in [from, to) of these len bytes. */
static void search(struct target *t, const uint8_t *p, size_t from, size_t to, size_t len, uint64_t offset)
{
    for (size_t i = from; i < to && i + 4 <= len; i++) {
        uint32_t h = hash4(p + i);
        if (!(maybe[h / 8] & 1 << h % 8))
            continue;
        for (struct pattern *q = table[h]; q; q = q->next) {
            if (q->anchor > i || q->len > len - (i - q->anchor) || memcmp(q->bytes, p + i - q->anchor, q->len))
                continue;
            if (t->hits++ < 20)
                printf("%s hit %s %llu\n", t->name, q->label, (unsigned long long)(offset + i - q->anchor));
        }
    }
}

static int search_file(struct target *t)
{
    int fd = open(t->name, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return -1;
    if (st.st_size > 0) {
        uint8_t *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            return -1;
        madvise(p, (size_t)st.st_size, MADV_SEQUENTIAL);
        search(t, p, 0, (size_t)st.st_size, (size_t)st.st_size, 0);
        t->bytes += (uint64_t)st.st_size;
        munmap(p, (size_t)st.st_size);
    }
    close(fd);
    return 0;
}

/* One mapping, in chunks that see a pattern's length to either side, so that nothing hides on a border. */
static void search_mapping(struct target *t, int mem, uint64_t from, uint64_t to, uint8_t *room)
{
    for (uint64_t at = from; at < to; at += CHUNK) {
        uint64_t begin = at - from < LONG ? from : at - LONG;
        uint64_t end = to - at < CHUNK + LONG ? to : at + CHUNK + LONG;
        ssize_t n = pread(mem, room, (size_t)(end - begin), (off_t)begin);
        if (n <= 0) {
            t->unread += end - begin;
            continue;
        }
        search(t, room, (size_t)(at - begin), (size_t)(at - begin) + CHUNK, (size_t)n, begin);
        t->bytes += (uint64_t)n;
    }
}

static int search_process(struct target *t, const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
    int mem = open(path, O_RDONLY);
    uint8_t *room = malloc(CHUNK + 2 * LONG);
    if (!maps || mem < 0 || !room)
        return -1;
    while (fgets(line, sizeof(line), maps)) {
        unsigned long long from, to;
        char mode[8];
        if (sscanf(line, "%llx-%llx %7s", &from, &to, mode) == 3 && mode[0] == 'r' && !strstr(line, "[v"))
            search_mapping(t, mem, from, to, room);
    }
    free(room);
    close(mem);
    fclose(maps);
    errno = EIO;
    return t->bytes && t->unread <= t->bytes / 100 ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return fprintf(stderr, "usage: find PATTERNS TARGET...\n"), 2;
    if (read_patterns(argv[1]) <= 0)
        return 2;
    uint64_t hits = 0;
    int missed = 0;
    for (int i = 2; i < argc; i++) {
        struct target t = {.name = argv[i]};
        int rc = strncmp(argv[i], "pid:", 4) ? search_file(&t) : search_process(&t, argv[i] + 4);
        if (rc) {
            fprintf(stderr, "find: %s could not be searched: %s\n", argv[i], strerror(errno));
            missed = 1;
            continue;
        }
        printf(
            "%s bytes %llu\n%s hits %llu\n", t.name, (unsigned long long)t.bytes, t.name, (unsigned long long)t.hits);
        hits += t.hits;
    }
    return hits ? 1 : missed ? 2 : 0;
}
