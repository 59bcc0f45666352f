/* Every verb by name (verb_*.c define them). */
#ifndef MERIDIAN_CLI_VERBS_H
#define MERIDIAN_CLI_VERBS_H

#include "cli/verb.h"

#endif
