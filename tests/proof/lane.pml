/* The credit protocol of one lane over one link, for spin (docs/lanes-proof.md). The code is src/lane/credit.h; its
 * arithmetic is checked by credit_cbmc.c, the protocol around it here: what may be lost, repeated, overtaken, forgotten.
 *
 * The link. Data packets of one or two cells fly as a set: any of them may arrive next, arrive and stay (a copy follows),
 * or vanish. Control frames are never forgotten: each one ever sent may arrive at any time, again and again (so they may
 * be late, repeated, overtaken); that the newest one gets through at last is the fairness of the processes at the end.
 * The neighbours restart: a session is a pair of fresh epochs (session.pml), here a number; each side goes to the next one
 * alone, and what carries another session's number is discarded.
 *
 * The receiver's buffers. POOL cells, for this lane, for what a former session left behind, and for another lane that
 * takes whatever is not reserved.
 *
 * Broken on purpose, so that the check is seen to be able to fail (each must be refuted): NO_NUMBERS, NO_HANDSHAKE,
 * NO_GENERATIONS, NO_EPOCHS, NO_LEFTOVER (safety), NO_SYNC (progress). */

#ifndef CELLS
#define CELLS 4 /* to be sent in a session */
#endif
#define POOL     3
#define LEAST    2 /* smallest window: a packet of two cells must fit */
#ifndef GENS
#define GENS 2 /* releases in a session, at most 2 */
#endif
#define SESSIONS 2
#ifndef COPIES
#define COPIES 1
#endif
#define BIT(mask, i) (((mask) >> (i)) & 1)

/* sender */
byte ss, S, limit, gs;
bit acked = 1; /* a CREDIT of this generation has come: only then may it release again */
/* receiver */
byte rs, R, F, L, gr, held, left;
bit other; /* a cell reserved by another lane, and filled by it */
/* link: bit f of fly1, fly2: a packet of one, two cells from f on */
byte fly1[SESSIONS], fly2[SESSIONS];
/* Control frames, per session and generation. Of CREDITs the highest limit: that any lower one may arrive as well is more
 * than a link can do, which is fine for safety. Of SYNCs likewise. */
byte credit[6], release[6];
byte released[SESSIONS]; /* RELEASEs sent */
byte sync[SESSIONS];
byte copies;

#define AT(session, generation) ((session) * 3 + (generation))
#define RESERVED (L - F)

inline check()
{
    assert(held + left + other <= POOL); /* no overflow, ever */
#ifndef OVERFLOW_ONLY
    if
    :: ss == rs ->
        assert(F <= R && R <= S && S <= limit && limit <= L);
        assert(held == R - F);
        assert(RESERVED + left + other <= POOL)
    :: else
    fi
#endif
}

/* --- the sender: credit_may_send, credit_send, credit_update, credit_release ------------------------------------ */

inline send(need)
{
    if
    :: need == 1 -> fly1[ss] = fly1[ss] | (1 << S)
    :: else -> fly2[ss] = fly2[ss] | (1 << S)
    fi;
    S = S + need
}

inline update(g, l)
{
#ifdef NO_GENERATIONS
    acked = 1;
    if
    :: l > limit -> limit = l
    :: else
    fi
#else
    if
    :: g == gs ->
        acked = 1;
        if
        :: l > limit -> limit = l
        :: else
        fi
    :: else
    fi
#endif
}

/* --- the receiver: credit_arrive, credit_sync, credit_advertise, credit_reclaim -------------------------------- */

inline arrive(session, first, need)
{
#ifdef NO_EPOCHS
    if
    :: true ->
#else
    if
    :: session != rs -> skip
    :: else ->
#endif
#ifdef NO_NUMBERS
        R = R + need;
        held = held + need
#else
        if
        :: first < R -> skip /* behind: dropped */
        :: else ->
#ifndef OVERFLOW_ONLY
            assert(first + need <= L); /* nobody sends beyond what he was told */
#endif
            F = F + (first - R);
            R = first + need;
            held = held + need
        fi
#endif
    fi
}

inline advertise()
{
    byte top;
    if
    :: top = F + LEAST /* the window may be any */
    :: top = F + POOL
    fi;
    if
    :: top > F + POOL - left - other -> top = F + POOL - left - other
    :: else
    fi;
#ifdef NO_LEFTOVER
    top = F + POOL - other;
#endif
    if
    :: top > L -> L = top
    :: else
    fi;
    top = 0;
    credit[AT(rs, gr)] = L
}

inline reclaim(g, l)
{
    if
    :: g == gr + 1 && l >= R && l <= L ->
        L = l;
        gr = g
    :: else
    fi
}

inline close_tail(s)
{
    if
    :: s > R && s <= L ->
        F = F + (s - R);
        R = s
    :: else
    fi
}

/* --- sessions ------------------------------------------------------------------------------------------------ */

inline forget(session) /* nobody listens to it any more */
{
#ifdef NO_EPOCHS
    skip
#else
    if
    :: ss > session && rs > session ->
        fly1[session] = 0;
        fly2[session] = 0;
        sync[session] = 0;
        released[session] = 0;
        credit[AT(session, 0)] = 0;
        credit[AT(session, 1)] = 0;
        credit[AT(session, 2)] = 0;
        release[AT(session, 0)] = 0;
        release[AT(session, 1)] = 0;
        release[AT(session, 2)] = 0
    :: else
    fi
#endif
}

inline sender_begins(session)
{
    ss = session;
    S = 0;
    limit = 0;
    gs = 0;
    acked = 1;
    forget(session - 1)
}

inline receiver_begins(session)
{
    rs = session;
    R = 0;
    F = 0;
    L = 0;
    gr = 0;
    forget(session - 1)
}

/* --- what happens by itself, and must not be put off for ever --------------------------------------------------- */

active proctype sends()
{
    do
    :: atomic { S < CELLS && S < limit -> send(1); check() }
    :: atomic { S + 1 < CELLS && S + 1 < limit -> send(2); check() }
    od
}

/* One of the packets that fly: it arrives, or arrives and a copy goes on, or it is lost. */
inline pick(mask)
{
    if
    :: BIT(mask, 0) -> f = 0
    :: BIT(mask, 1) -> f = 1
    :: BIT(mask, 2) -> f = 2
    :: BIT(mask, 3) -> f = 3
    :: BIT(mask, 4) -> f = 4
    fi
}

inline carry(session, mask, need)
{
    pick(mask);
    if
    :: mask = mask & ~(1 << f); arrive(session, f, need)
    :: copies < COPIES -> copies++; arrive(session, f, need)
    :: mask = mask & ~(1 << f)
    fi;
    f = 0
}

active proctype carries_data()
{
    byte f;
    do
    :: atomic { fly1[0] > 0 -> carry(0, fly1[0], 1); check() }
    :: atomic { fly2[0] > 0 -> carry(0, fly2[0], 2); check() }
    :: atomic { fly1[1] > 0 -> carry(1, fly1[1], 1); check() }
    :: atomic { fly2[1] > 0 -> carry(1, fly2[1], 2); check() }
    od
}

active proctype consumes()
{
    do
    :: atomic { held > 0 -> held--; F++; check() }
    :: atomic { left > 0 -> left--; check() }
    od
}

/* The newest CREDIT is repeated until it gets through. */
active proctype credits()
{
    do
    :: atomic {
        true ->
        advertise();
        if
        :: ss == rs -> update(gr, L)
        :: else
        fi;
        check()
    }
    od
}

/* So is a RELEASE that was not answered. */
active proctype releases()
{
    do
    :: atomic {
        !acked ->
        if
        :: ss == rs -> reclaim(gs, limit)
        :: else
        fi;
        check()
    }
    od
}

/* The sender was quiet for longer than the link reorders: nothing of it flies any more. */
active proctype closes_tails()
{
    do
#ifdef NO_SYNC
    :: false
#else
    :: atomic {
        ss == rs && R < S && fly1[ss] + fly2[ss] == 0 ->
        sync[ss] = S;
        close_tail(S);
        check()
    }
#endif
    od
}

/* After a restart of one side the other one follows. What it still holds of the former session stays where it is. */
active proctype follows()
{
    do
    :: atomic { ss < rs -> sender_begins(rs); check() }
    :: atomic {
        rs < ss ->
        left = left + held;
        held = 0;
        receiver_begins(ss);
        check()
    }
    od
}

/* --- what may happen, at any time, or never ------------------------------------------------------------------- */

inline give_back() /* what the sender does not need, but for one cell or none */
{
    if
    :: limit > S -> limit = S
    :: limit > S + 1 -> limit = S + 1
    :: skip
    fi;
    gs++;
    acked = 0;
    release[AT(ss, gs)] = limit;
    released[ss] = gs
}

inline repeat_credit(session)
{
    select(g : 0 .. GENS);
    select(l : 1 .. CELLS + POOL);
    if
    :: l <= credit[AT(session, g)] -> update(g, l)
    :: else
    fi;
    g = 0;
    l = 0
}

inline repeat_release(session)
{
    select(g : 1 .. GENS);
    if
    :: g <= released[session] -> reclaim(g, release[AT(session, g)])
    :: else
    fi;
    g = 0
}

inline repeat_sync(session)
{
    select(l : 1 .. CELLS);
    if
    :: l <= sync[session] -> close_tail(l)
    :: else
    fi;
    l = 0
}

active proctype happens()
{
    byte g, l;
    do
    :: atomic { acked && gs < GENS -> give_back(); check() }
    :: atomic { !other && RESERVED + left < POOL && POOL - left > LEAST -> other = 1; check() }
    :: atomic { other -> other = 0; check() }
    /* any control frame that was ever sent arrives */
    :: atomic { true -> repeat_credit(ss); check() }
    :: atomic { released[rs] > 0 -> repeat_release(rs); check() }
    :: atomic { sync[rs] > 0 -> repeat_sync(rs); check() }
    /* the sender restarts; or the receiver, whose buffers are empty then */
    :: atomic { ss + 1 < SESSIONS && ss == rs -> sender_begins(ss + 1); check() }
    :: atomic {
        rs + 1 < SESSIONS && ss == rs ->
        held = 0;
        left = 0;
        receiver_begins(rs + 1);
        check()
    }
#ifdef NO_HANDSHAKE
    :: atomic { L > R -> L = R; check() } /* it looks as if nothing were under way */
#endif
#ifdef NO_EPOCHS
    :: atomic { ss > 0 -> repeat_credit(0); check() }
    :: atomic { released[0] > 0 -> repeat_release(0); check() }
    :: atomic { sync[0] > 0 -> repeat_sync(0); check() }
#endif
    od
}

/* In the end all was sent, and all that was sent has arrived and left, or is known to be lost. */
ltl progress { <>[] (S == CELLS && R == CELLS && F == CELLS && ss == rs) }
