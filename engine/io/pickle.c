#include "engine/io/pickle.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/pickle_names.h"

/* Far beyond a ViT-H with adapters and its optimiser's state: about 100 000 values, a stack of 2 000. */
enum { VALUES_MAX = 1 << 19, ITEMS_MAX = 1 << 20, STACK_MAX = 1 << 16, MARKS_MAX = 1 << 10 };
enum { SIZE_MAX_BYTES = 64 << 20 };

typedef struct machine {
    msa_pickle *p;
    const unsigned char *bytes;
    size_t size, at;
    uint32_t room_values, room_items;
    uint32_t *stack, *memo; /* values; a memo's place that was never set holds UINT32_MAX */
    uint32_t n_stack, room_stack, n_memo, room_memo, memo_next;
    uint32_t marks[MARKS_MAX], n_marks; /* heights of the stack */
    bool stopped;
    msa_error *err;
} machine;

int64_t msa_element_bytes(msa_element e)
{
    static const int64_t bytes[] = {4, 2, 2, 8, 1, 2, 4, 8};
    return bytes[e];
}

const char *msa_printable(char *to, size_t size, const char *text, size_t length)
{
    size_t n = 0;
    for (; n < length && n + 1 < size; n++)
        to[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    to[n] = '\0';
    return to;
}

void msa_pickle_free(msa_pickle *p)
{
    if (p == NULL) return;
    free(p->values);
    free(p->items);
    free(p);
}

static msa_status damaged(const machine *m)
{
    return msa_fail(m->err, MSA_E_PARSE, "the checkpoint's list of tensors (a pickle) is damaged at byte %zu",
                    m->at);
}

static msa_status unexpected(const machine *m, const char *what)
{
    return msa_fail(m->err, MSA_E_UNSUPPORTED,
                    "the checkpoint's pickle holds %s, which no file of weights needs", what);
}

/* ---- room that grows with what is read ---- */

static msa_status grow(const machine *m, void **list, uint32_t *room, uint32_t n, uint32_t max, size_t each)
{
    if (n < *room) return MSA_OK;
    if (n >= max)
        return msa_fail(m->err, MSA_E_UNSUPPORTED,
                        "the checkpoint's pickle is larger than any file of weights needs");
    uint32_t wanted = *room == 0 ? 256 : 2 * *room;
    while (wanted <= n)
        wanted *= 2;
    void *grown = realloc(*list, wanted * each);
    if (grown == NULL) return msa_fail(m->err, MSA_E_NOMEM, "no memory for the checkpoint's list of tensors");
    *list = grown;
    *room = wanted;
    return MSA_OK;
}

static msa_status push(machine *m, uint32_t value)
{
    MSA_TRY(grow(m, (void **)&m->stack, &m->room_stack, m->n_stack, STACK_MAX, sizeof *m->stack));
    m->stack[m->n_stack++] = value;
    return MSA_OK;
}

static msa_status push_new(machine *m, msa_pickle_value v)
{
    MSA_TRY(grow(m, (void **)&m->p->values, &m->room_values, m->p->n_values, VALUES_MAX, sizeof v));
    m->p->values[m->p->n_values] = v;
    return push(m, m->p->n_values++);
}

static msa_status append(machine *m, uint32_t list, uint32_t value)
{
    if (m->p->n_items == 0) m->p->n_items = 1; /* item 0 is the end of every list */
    MSA_TRY(grow(m, (void **)&m->p->items, &m->room_items, m->p->n_items, ITEMS_MAX, sizeof *m->p->items));
    const uint32_t item = m->p->n_items++;
    msa_pickle_value *v = &m->p->values[list];
    m->p->items[item] = (msa_pickle_item){value, 0};
    if (v->items.n == 0)
        v->items.first = item;
    else
        m->p->items[v->items.last].next = item;
    v->items.last = item;
    v->items.n++;
    return MSA_OK;
}

/* Nothing below the last mark may be taken: its owner will want it. */
static msa_status pop(machine *m, uint32_t *value)
{
    const uint32_t floor = m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
    if (m->n_stack <= floor) return damaged(m);
    *value = m->stack[--m->n_stack];
    return MSA_OK;
}

static msa_status pop_mark(machine *m, uint32_t *height)
{
    if (m->n_marks == 0) return damaged(m);
    *height = m->marks[--m->n_marks];
    return MSA_OK;
}

static msa_pickle_value *value_at(const machine *m, uint32_t v)
{
    return &m->p->values[v];
}

/* ---- operands ---- */

static msa_status take(machine *m, size_t n, const unsigned char **p)
{
    if (n > m->size - m->at) return damaged(m);
    *p = m->bytes + m->at;
    m->at += n;
    return MSA_OK;
}

/* Little endian, 1 to 8 bytes, without a sign. */
static msa_status take_number(machine *m, size_t n, uint64_t *v)
{
    const unsigned char *p = NULL;
    MSA_TRY(take(m, n, &p));
    *v = 0;
    for (size_t i = 0; i < n; i++)
        *v |= (uint64_t)p[i] << 8 * i;
    return MSA_OK;
}

static msa_status take_line(machine *m, const char **text, size_t *length)
{
    const unsigned char *p = m->bytes + m->at, *end = memchr(p, '\n', m->size - m->at);
    if (end == NULL) return damaged(m);
    *text = (const char *)p;
    *length = (size_t)(end - p);
    m->at += *length + 1;
    return MSA_OK;
}

static msa_status push_int(machine *m, int64_t n)
{
    return push_new(m, (msa_pickle_value){.kind = MSA_PICKLE_INT, .number = n});
}

static msa_status push_kind(machine *m, msa_pickle_kind kind)
{
    return push_new(m, (msa_pickle_value){.kind = kind});
}

/* Two's complement of any length; what 64 bits do not hold is no size of anything. */
static msa_status push_long(machine *m)
{
    uint64_t n = 0, v = 0;
    const unsigned char *p = NULL;
    MSA_TRY(take_number(m, 1, &n));
    if (n > 8) {
        MSA_TRY(take(m, n, &p));
        return push_kind(m, MSA_PICKLE_INERT);
    }
    MSA_TRY(take_number(m, n, &v));
    if (n > 0 && n < 8 && (v >> (8 * n - 1) & 1) != 0) v |= UINT64_MAX << 8 * n;
    return push_int(m, (int64_t)v);
}

static msa_status push_text(machine *m, size_t width)
{
    uint64_t n = 0;
    const unsigned char *p = NULL;
    MSA_TRY(take_number(m, width, &n));
    MSA_TRY(take(m, n, &p));
    return push_new(m, (msa_pickle_value){.kind = MSA_PICKLE_TEXT, .text = {(const char *)p, n}});
}

/* ---- names ---- */

static msa_status push_global(machine *m, const char *module, size_t module_length, const char *name,
                              size_t name_length)
{
    const int32_t known = msa_pickle_name_find(module, module_length, name, name_length);
    char a[64], b[64];
    if (known >= 0) return push_new(m, (msa_pickle_value){.kind = MSA_PICKLE_GLOBAL, .global = known});
    return msa_fail(
        m->err, MSA_E_UNSUPPORTED,
        "the checkpoint asks for %s.%s, which is not one of the few names that weights need; save "
        "its state_dict() alone",
        msa_printable(a, sizeof a, module, module_length), msa_printable(b, sizeof b, name, name_length));
}

static msa_status op_global(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    MSA_TRY(take_line(m, &module, &module_length));
    MSA_TRY(take_line(m, &name, &name_length));
    return push_global(m, module, module_length, name, name_length);
}

static msa_status op_stack_global(machine *m)
{
    uint32_t name = 0, module = 0;
    MSA_TRY(pop(m, &name));
    MSA_TRY(pop(m, &module));
    const msa_pickle_value *a = value_at(m, module), *b = value_at(m, name);
    if (a->kind != MSA_PICKLE_TEXT || b->kind != MSA_PICKLE_TEXT) return damaged(m);
    return push_global(m, a->text.at, a->text.length, b->text.at, b->text.length);
}

/* ---- calls: each known name has one meaning ---- */

/* The first `n` items of a tuple; false when there are fewer. */
static bool arguments(const machine *m, uint32_t tuple, uint32_t *values, uint32_t n)
{
    const msa_pickle_value *t = value_at(m, tuple);
    if (t->kind != MSA_PICKLE_TUPLE || t->items.n < n) return false;
    uint32_t item = t->items.first;
    for (uint32_t i = 0; i < n; i++, item = m->p->items[item].next)
        values[i] = m->p->items[item].value;
    return true;
}

static bool is(const machine *m, uint32_t value, msa_pickle_kind kind)
{
    return value_at(m, value)->kind == kind;
}

static msa_status rebuild_tensor(machine *m, uint32_t tuple)
{
    uint32_t a[4];
    if (!arguments(m, tuple, a, 4) || !is(m, a[0], MSA_PICKLE_STORAGE) || !is(m, a[1], MSA_PICKLE_INT) ||
        !is(m, a[2], MSA_PICKLE_TUPLE) || !is(m, a[3], MSA_PICKLE_TUPLE))
        return damaged(m);
    return push_new(m, (msa_pickle_value){.kind = MSA_PICKLE_TENSOR,
                                          .tensor = {a[0], a[2], a[3], value_at(m, a[1])->number}});
}

static msa_status op_reduce(machine *m)
{
    uint32_t tuple = 0, callable = 0, inner = 0;
    MSA_TRY(pop(m, &tuple));
    MSA_TRY(pop(m, &callable));
    if (!is(m, callable, MSA_PICKLE_GLOBAL) || !is(m, tuple, MSA_PICKLE_TUPLE)) return damaged(m);
    switch (msa_pickle_name_at(value_at(m, callable)->global)->role) {
    case MSA_ROLE_INERT:
        return push_kind(m, MSA_PICKLE_INERT);
    case MSA_ROLE_DICT:
        if (value_at(m, tuple)->items.n > 0) return unexpected(m, "an OrderedDict that is made of a list");
        return push_kind(m, MSA_PICKLE_DICT);
    case MSA_ROLE_SIZE:
        if (!arguments(m, tuple, &inner, 1) || !is(m, inner, MSA_PICKLE_TUPLE)) return damaged(m);
        return push(m, inner);
    case MSA_ROLE_TENSOR:
        return rebuild_tensor(m, tuple);
    case MSA_ROLE_PARAMETER:
        if (!arguments(m, tuple, &inner, 1) || !is(m, inner, MSA_PICKLE_TENSOR)) return damaged(m);
        return push(m, inner);
    case MSA_ROLE_STORAGE:
        break;
    }
    return unexpected(m, "a storage that is made, not stored");
}

/* An object of a class without interest. */
static msa_status op_newobj(machine *m)
{
    uint32_t tuple = 0, class = 0;
    MSA_TRY(pop(m, &tuple));
    MSA_TRY(pop(m, &class));
    if (!is(m, class, MSA_PICKLE_GLOBAL) ||
        msa_pickle_name_at(value_at(m, class)->global)->role != MSA_ROLE_INERT)
        return damaged(m);
    return push_kind(m, MSA_PICKLE_INERT);
}

/* ("storage", class, key, where it was, elements): what it lies in comes from outside the pickle. */
static msa_status op_persistent(machine *m)
{
    uint32_t tuple = 0, a[5];
    MSA_TRY(pop(m, &tuple));
    if (!arguments(m, tuple, a, 5) || !is(m, a[0], MSA_PICKLE_TEXT) || !is(m, a[1], MSA_PICKLE_GLOBAL) ||
        !is(m, a[2], MSA_PICKLE_TEXT) || !is(m, a[4], MSA_PICKLE_INT))
        return damaged(m);
    const msa_pickle_value *word = value_at(m, a[0]);
    const msa_pickle_name *class = msa_pickle_name_at(value_at(m, a[1])->global);
    const int64_t count = value_at(m, a[4])->number;
    if (word->text.length != 7 || memcmp(word->text.at, "storage", 7) != 0 ||
        class->role != MSA_ROLE_STORAGE || count < 0)
        return damaged(m);
    return push_new(m,
                    (msa_pickle_value){.kind = MSA_PICKLE_STORAGE, .storage = {class->element, a[2], count}});
}

/* State that is set on an object: of a dict its _metadata, which says nothing about the weights. */
static msa_status op_build(machine *m)
{
    uint32_t state = 0, object = 0;
    MSA_TRY(pop(m, &state));
    MSA_TRY(pop(m, &object));
    if (!is(m, object, MSA_PICKLE_DICT) && !is(m, object, MSA_PICKLE_INERT) &&
        !is(m, object, MSA_PICKLE_TENSOR))
        return damaged(m);
    return push(m, object);
}

/* ---- containers ---- */

/* Of what lies above `height`. */
static msa_status make_tuple(machine *m, uint32_t height)
{
    const uint32_t n = m->n_stack - height;
    const uint32_t floor = m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
    if (height < floor || m->n_stack < height) return damaged(m);
    MSA_TRY(push_kind(m, MSA_PICKLE_TUPLE));
    const uint32_t tuple = m->stack[m->n_stack - 1];
    for (uint32_t i = 0; i < n; i++)
        MSA_TRY(append(m, tuple, m->stack[height + i]));
    m->n_stack = height;
    return push(m, tuple);
}

static msa_status op_small_tuple(machine *m, uint32_t n)
{
    if (m->n_stack < n) return damaged(m);
    return make_tuple(m, m->n_stack - n);
}

/* What lies above `height` goes to the list or dict below it. */
static msa_status fill(machine *m, uint32_t height, msa_pickle_kind kind)
{
    const uint32_t floor = m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
    if (m->n_stack < height || height <= floor) return damaged(m);
    const uint32_t to = m->stack[height - 1], n = m->n_stack - height;
    if (!is(m, to, kind) || (kind == MSA_PICKLE_DICT && n % 2 != 0)) return damaged(m);
    for (uint32_t i = 0; i < n; i++)
        MSA_TRY(append(m, to, m->stack[height + i]));
    m->n_stack = height;
    return MSA_OK;
}

static msa_status fill_from_mark(machine *m, msa_pickle_kind kind)
{
    uint32_t height = 0;
    MSA_TRY(pop_mark(m, &height));
    return fill(m, height, kind);
}

static msa_status op_mark(machine *m)
{
    if (m->n_marks == MARKS_MAX) return damaged(m);
    m->marks[m->n_marks++] = m->n_stack;
    return MSA_OK;
}

/* ---- memo ---- */

static msa_status put(machine *m, uint64_t place)
{
    if (m->n_stack == 0) return damaged(m);
    const uint32_t before = m->room_memo, n = place < VALUES_MAX ? (uint32_t)place : VALUES_MAX;
    MSA_TRY(grow(m, (void **)&m->memo, &m->room_memo, n, VALUES_MAX, sizeof *m->memo));
    for (uint32_t i = before; i < m->room_memo; i++)
        m->memo[i] = UINT32_MAX;
    m->memo[place] = m->stack[m->n_stack - 1];
    m->memo_next++;
    return MSA_OK;
}

static msa_status get(machine *m, uint64_t place)
{
    if (place >= m->room_memo || m->memo[place] == UINT32_MAX) return damaged(m);
    return push(m, m->memo[place]);
}

static msa_status op_memo(machine *m, bool putting, size_t width)
{
    uint64_t place = 0;
    MSA_TRY(take_number(m, width, &place));
    return putting ? put(m, place) : get(m, place);
}

/* ---- the opcodes ---- */

static msa_status push_number(machine *m, size_t width)
{
    uint64_t v = 0;
    MSA_TRY(take_number(m, width, &v));
    return push_int(m, width == 4 ? (int32_t)(uint32_t)v : (int64_t)v);
}

static msa_status skip(machine *m, size_t n)
{
    const unsigned char *p = NULL;
    return take(m, n, &p);
}

static msa_status push_float(machine *m)
{
    MSA_TRY(skip(m, 8));
    return push_kind(m, MSA_PICKLE_INERT);
}

static msa_status push_bytes(machine *m)
{
    uint64_t n = 0;
    MSA_TRY(take_number(m, 1, &n));
    MSA_TRY(skip(m, n));
    return push_kind(m, MSA_PICKLE_INERT);
}

static msa_status op_tuple(machine *m)
{
    uint32_t height = 0;
    MSA_TRY(pop_mark(m, &height));
    return make_tuple(m, height);
}

static msa_status op_stop(machine *m)
{
    MSA_TRY(pop(m, &m->p->root));
    m->stopped = true;
    return MSA_OK;
}

static msa_status op_protocol(machine *m)
{
    uint64_t version = 0;
    MSA_TRY(take_number(m, 1, &version));
    if (version >= 2 && version <= 5) return MSA_OK;
    return msa_fail(m->err, MSA_E_UNSUPPORTED, "the checkpoint's pickle has protocol %d; 2 to 5 are read",
                    (int)version);
}

static msa_status refuse(const machine *m, unsigned char opcode)
{
    return msa_fail(m->err, MSA_E_UNSUPPORTED,
                    "the checkpoint's pickle has opcode 0x%02x at byte %zu, which no file of weights needs",
                    opcode, m->at - 1);
}

/* Names as in Python's pickletools. */
static msa_status step(machine *m)
{
    uint64_t opcode = 0;
    MSA_TRY(take_number(m, 1, &opcode));
    switch (opcode) {
    case 0x80: /* PROTO */
        return op_protocol(m);
    case 0x95: /* FRAME */
        return skip(m, 8);
    case '}': /* EMPTY_DICT */
        return push_kind(m, MSA_PICKLE_DICT);
    case ']': /* EMPTY_LIST */
        return push_kind(m, MSA_PICKLE_LIST);
    case ')': /* EMPTY_TUPLE */
        return push_kind(m, MSA_PICKLE_TUPLE);
    case '(': /* MARK */
        return op_mark(m);
    case 'N': /* NONE */
        return push_kind(m, MSA_PICKLE_NONE);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_kind(m, MSA_PICKLE_INERT);
    case 'K': /* BININT1 */
        return push_number(m, 1);
    case 'M': /* BININT2 */
        return push_number(m, 2);
    case 'J': /* BININT */
        return push_number(m, 4);
    case 0x8a: /* LONG1 */
        return push_long(m);
    case 'G': /* BINFLOAT */
        return push_float(m);
    case 'C': /* SHORT_BINBYTES: of a numpy scalar */
        return push_bytes(m);
    case 'X': /* BINUNICODE */
        return push_text(m, 4);
    case 0x8c: /* SHORT_BINUNICODE */
        return push_text(m, 1);
    case 'c': /* GLOBAL */
        return op_global(m);
    case 0x93: /* STACK_GLOBAL */
        return op_stack_global(m);
    case 't': /* TUPLE */
        return op_tuple(m);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return op_small_tuple(m, (uint32_t)opcode - 0x84);
    case 'R': /* REDUCE */
        return op_reduce(m);
    case 0x81: /* NEWOBJ */
        return op_newobj(m);
    case 'Q': /* BINPERSID */
        return op_persistent(m);
    case 'b': /* BUILD */
        return op_build(m);
    case 's': /* SETITEM */
        return m->n_stack < 2 ? damaged(m) : fill(m, m->n_stack - 2, MSA_PICKLE_DICT);
    case 'u': /* SETITEMS */
        return fill_from_mark(m, MSA_PICKLE_DICT);
    case 'a': /* APPEND */
        return m->n_stack < 1 ? damaged(m) : fill(m, m->n_stack - 1, MSA_PICKLE_LIST);
    case 'e': /* APPENDS */
        return fill_from_mark(m, MSA_PICKLE_LIST);
    case 'q': /* BINPUT */
        return op_memo(m, true, 1);
    case 'r': /* LONG_BINPUT */
        return op_memo(m, true, 4);
    case 0x94: /* MEMOIZE */
        return put(m, m->memo_next);
    case 'h': /* BINGET */
        return op_memo(m, false, 1);
    case 'j': /* LONG_BINGET */
        return op_memo(m, false, 4);
    case '.': /* STOP */
        return op_stop(m);
    default:
        return refuse(m, (unsigned char)opcode);
    }
}

static msa_status run(machine *m)
{
    while (!m->stopped)
        MSA_TRY(step(m));
    m->p->used = m->at;
    return MSA_OK;
}

msa_status msa_pickle_read(msa_pickle **out, const unsigned char *bytes, size_t size, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_pickle) p = calloc(1, sizeof *p);
    MSA_AUTO_FREE machine *m = calloc(1, sizeof *m);
    if (p == NULL || m == NULL)
        return msa_fail(err, MSA_E_NOMEM, "no memory for the checkpoint's list of tensors");
    *m = (machine){.p = p, .bytes = bytes, .size = size < SIZE_MAX_BYTES ? size : SIZE_MAX_BYTES, .err = err};
    const msa_status status = run(m);
    free(m->stack);
    free(m->memo);
    MSA_TRY(status);
    *out = MSA_STEAL(p);
    return MSA_OK;
}
