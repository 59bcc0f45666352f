/* How two neighbours agree on a session, for spin: the rule of src/lane/link.c, "a session is formed only on a HELLO that
 * echoes an epoch of ours which no session has used yet" (docs/lanes-proof.md).
 *
 * A HELLO is {epoch, echo}. Every one ever sent may arrive at any time, again and again; both sides restart, and lose a
 * session, so and so often. Epochs are drawn once (numbers here, 64 random bits there). What lane.pml takes for granted is
 * checked: no side ever returns to a session, and data, which carries the sender's epoch alone, is never taken in another
 * session than it was sent in. And in the end both are in the same session, whatever still arrives.
 *
 * Broken on purpose: NO_ECHO (any HELLO of a new epoch forms a session), REUSE (an epoch serves for several sessions). */

#ifndef FAULTS
#define FAULTS 2 /* restarts of either side, sessions that one side gives up because it heard nothing, lost answers */
#endif
#ifndef REPLAYS
#define REPLAYS 2 /* old frames that arrive again; for progress they must come to an end */
#endif
#define EPOCHS 8

byte fresh[2], own[2], peer[2]; /* session: {own, peer}; 0: none */
bit up[2];                      /* something sealed with the session's key has come: only then data is sent */
byte drawn[2], faults, replays;
byte sent[16];      /* by side * EPOCHS + epoch: a bit for each echo */
byte said[2], asked[2];         /* the last answer under way: {epoch, echo} */

#define SAME (own[0] != 0 && own[1] != 0 && own[0] == peer[1] && own[1] == peer[0])
#define SENT(side, e, echo) ((sent[(side) * EPOCHS + (e)] >> (echo)) & 1)

byte partner[16]; /* of an epoch: the other side's, in the one session that it served for */

/* Whoever takes data, which carries its sender's epoch alone, is in the only session in which that epoch was ever used. */
inline check()
{
    assert(!up[0] || partner[EPOCHS + peer[0]] == own[0]);
    assert(!up[1] || partner[peer[1]] == own[1])
}

inline draw(who)
{
    if
    :: fresh[who] == 0 ->
        drawn[who]++;
        assert(drawn[who] < EPOCHS); /* the bounds above suffice: replays cost epochs only now and then */
        fresh[who] = drawn[who]
    :: else
    fi
}

inline note(from, what, to)
{
    sent[from * EPOCHS + what] = sent[from * EPOCHS + what] | (1 << to)
}

inline answer(at, mine, yours)
{
    sent[at * EPOCHS + mine] = sent[at * EPOCHS + mine] | (1 << yours);
    said[at] = mine;
    asked[at] = yours
}

inline form(side, theirs)
{
    assert(!(up[side] && SAME)); /* no session that both are in is ever ended by what somebody hears */
    own[side] = fresh[side];
    assert(partner[side * EPOCHS + own[side]] == 0);
    partner[side * EPOCHS + own[side]] = theirs;
#ifndef REUSE
    fresh[side] = 0;
#endif
    peer[side] = theirs;
    up[side] = 0;
    answer(side, own[side], theirs)
}

/* link_hello() */
inline receive(i, e, echo)
{
    if
#ifdef NO_ECHO
    :: e != peer[i] -> draw(i); form(i, e)
    :: else -> answer(i, own[i], peer[i])
#else
    :: echo != 0 && echo != fresh[i] && echo != own[i] -> skip
    :: else ->
        if
        :: own[i] != 0 && e == peer[i] ->
            if
            :: echo != own[i] -> answer(i, own[i], peer[i])
            :: else
            fi
        :: !(own[i] != 0 && e == peer[i]) && fresh[i] != 0 && echo == fresh[i] -> form(i, e)
        :: else -> draw(i); answer(i, fresh[i], e)
        fi
#endif
    fi
}

/* --- what happens again and again ------------------------------------------------------------------------------- */

/* link_timer(), and what it sends gets through at last */
active proctype says_0()
{
    do
    :: atomic { own[0] == 0 -> draw(0); note(0, fresh[0], 0); receive(1, fresh[0], 0); check() }
    :: atomic { own[0] != 0 && !up[0] -> note(0, own[0], peer[0]); receive(1, own[0], peer[0]); check() }
    od
}

active proctype says_1()
{
    do
    :: atomic { own[1] == 0 -> draw(1); note(1, fresh[1], 0); receive(0, fresh[1], 0); check() }
    :: atomic { own[1] != 0 && !up[1] -> note(1, own[1], peer[1]); receive(0, own[1], peer[1]); check() }
    od
}

/* An answer is given once: it arrives, or a later one takes its place (or it is lost, which the timers make up for). */
inline carry(side, what, to)
{
    what = said[side];
    to = asked[side];
    said[side] = 0;
    asked[side] = 0
}

active proctype answers_0()
{
    byte e, echo;
    do
    :: atomic { said[0] != 0 -> carry(0, e, echo); receive(1, e, echo); e = 0; echo = 0; check() }
    od
}

active proctype answers_1()
{
    byte e, echo;
    do
    :: atomic { said[1] != 0 -> carry(1, e, echo); receive(0, e, echo); e = 0; echo = 0; check() }
    od
}

/* sealed frames: read by whoever is in the same session */
active proctype seals()
{
    do
    :: atomic { SAME && !up[0] -> up[0] = 1; check() }
    :: atomic { SAME && !up[1] -> up[1] = 1; check() }
    od
}

/* --- what may happen ------------------------------------------------------------------------------------------- */

inline forget(i)
{
    own[i] = 0;
    peer[i] = 0;
    up[i] = 0
}

active proctype happens()
{
    byte e, echo;
    do
    :: atomic { faults < FAULTS -> faults++; forget(0); fresh[0] = 0; said[0] = 0; asked[0] = 0; check() }
    :: atomic { faults < FAULTS -> faults++; forget(1); fresh[1] = 0; said[1] = 0; asked[1] = 0; check() }
    :: atomic { faults < FAULTS && own[0] != 0 -> faults++; forget(0); check() }
    :: atomic { faults < FAULTS && own[1] != 0 -> faults++; forget(1); check() }
    :: atomic { faults < FAULTS && said[0] != 0 -> faults++; carry(0, e, echo); e = 0; echo = 0 } /* lost */
    :: atomic { faults < FAULTS && said[1] != 0 -> faults++; carry(1, e, echo); e = 0; echo = 0 }
    :: atomic {
        replays < REPLAYS ->
        select(e : 1 .. EPOCHS - 1);
        select(echo : 0 .. EPOCHS - 1);
        if
        :: SENT(0, e, echo) -> replays++; receive(1, e, echo)
        :: SENT(1, e, echo) -> replays++; receive(0, e, echo)
        :: else
        fi;
        e = 0;
        echo = 0;
        check()
    }
    od
}

ltl progress { <>[] (SAME && up[0] && up[1]) }
