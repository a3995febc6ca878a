/* Sound cards that can be plugged in, pulled out and broken, under a real PortAudio.
 *
 * Preloaded, this stands between PortAudio and ALSA. The folder $ALSA_SHIM holds two files, read at every call:
 *   cards   one line a card: NUMBER RATE CHANNELS NAME (RATE or CHANNELS 0: whatever is asked for)
 *   fault   one word, how capturing from these cards fails now (empty: it does not):
 *     ends      every call says ENODEV: PortAudio ends the stream
 *     spins     poll reports an error at once and for ever: PortAudio's thread spins, the stream stays active
 *     silent    no error and no frame, as from a wedged USB controller
 *     busy      opening says EBUSY
 *     overflow [MS]  one overrun for each time the word is written; MS of sound are lost by it (0 if not said)
 *     stuck     stopping never returns
 * The cards' sound is that of ALSA's default PCM. ALSA's headers are not needed: handles are only passed on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))alsa(#name))
#define MOST_CARDS 8
#define MOST_PCMS 32
#define CAPTURE 1
#define STATE_XRUN 4

typedef struct {
    int number;
    unsigned rate, channels;
    char name[80];
} card_t;

static card_t open_ctl;                                     /* PortAudio has one open at a time */
static struct { void *pcm; card_t card; } pcms[MOST_PCMS]; /* which handles are our cards' */
static int overrun;                                         /* one is being told, and recovered from in play */
static __thread int asked_stream;                           /* what snd_pcm_info_set_stream was given last */

/* RTLD_NEXT would not find it: PortAudio and with it ALSA are loaded for sounddevice alone. */
static void *alsa(const char *function) {
    static void *library;
    if (!library) library = dlopen("libasound.so.2", RTLD_NOW);
    return dlsym(library, function);
}

static FILE *control(const char *name) {
    char path[512];
    const char *folder = getenv("ALSA_SHIM");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "/nonexistent", name);
    return fopen(path, "r");
}

static int fault_is(const char *word) {
    char now[16] = "";
    FILE *file = control("fault");
    if (file) {
        if (fscanf(file, "%15s", now) != 1) now[0] = 0;
        fclose(file);
    }
    return !strcmp(now, word);
}

static int fault_number(void) {
    int number = 0;
    FILE *file = control("fault");
    if (file) {
        if (fscanf(file, "%*s %d", &number) != 1) number = 0;
        fclose(file);
    }
    return number;
}

static int read_cards(card_t *cards) {
    int n = 0;
    FILE *file = control("cards");
    if (!file) return 0;
    while (n < MOST_CARDS
           && fscanf(file, "%d %u %u %79[^\n]", &cards[n].number, &cards[n].rate, &cards[n].channels, cards[n].name) == 4)
        n++;
    fclose(file);
    return n;
}

static int find_card(const char *name, card_t *found) {
    int number, n;
    card_t cards[MOST_CARDS];
    if (sscanf(name, "hw:%d", &number) != 1) return 0;
    n = read_cards(cards);
    while (n--)
        if (cards[n].number == number) {
            *found = cards[n];
            return 1;
        }
    return 0;
}

static card_t *card_of(void *pcm) {
    for (int i = 0; i < MOST_PCMS; i++)
        if (pcm && pcms[i].pcm == pcm) return &pcms[i].card;
    return NULL;
}

/* --- which cards there are --- */

int snd_card_next(int *card) {
    card_t cards[MOST_CARDS];
    int n = read_cards(cards), next = -1;
    while (n--)
        if (cards[n].number > *card && (next < 0 || cards[n].number < next)) next = cards[n].number;
    *card = next;
    return 0;
}

int snd_ctl_open(void **ctl, const char *name, int mode) {
    if (strncmp(name, "hw:", 3)) return REAL(snd_ctl_open)(ctl, name, mode);
    *ctl = &open_ctl;
    return find_card(name, &open_ctl) ? 0 : -ENODEV;
}

int snd_ctl_close(void *ctl) { return ctl == &open_ctl ? 0 : REAL(snd_ctl_close)(ctl); }
int snd_ctl_card_info(void *ctl, void *info) { return ctl == &open_ctl ? 0 : REAL(snd_ctl_card_info)(ctl, info); }
const char *snd_ctl_card_info_get_name(const void *info) { return open_ctl.name; }
const char *snd_pcm_info_get_name(const void *info) { return "USB Audio"; }
void snd_pcm_info_set_stream(void *info, int stream) { asked_stream = stream; }

int snd_ctl_pcm_next_device(void *ctl, int *device) {
    *device = *device < 0 ? 0 : -1;
    return 0;
}

int snd_ctl_pcm_info(void *ctl, void *info) { return asked_stream == CAPTURE ? 0 : -ENOENT; }

/* --- what they offer --- */

int snd_pcm_open(void **pcm, const char *name, int stream, int mode) {
    card_t card;
    int error;
    if (strncmp(name, "hw:", 3)) return REAL(snd_pcm_open)(pcm, name, stream, mode);
    if (!find_card(name, &card)) return -ENODEV;
    if (fault_is("busy")) return -EBUSY;
    if (fault_is("ends") || fault_is("spins")) return -ENODEV;
    error = REAL(snd_pcm_open)(pcm, "default", stream, mode);
    for (int i = 0; !error && i < MOST_PCMS; i++)
        if (!pcms[i].pcm) {
            pcms[i].pcm = *pcm;
            pcms[i].card = card;
            break;
        }
    return error;
}

int snd_pcm_close(void *pcm) {
    for (int i = 0; i < MOST_PCMS; i++)
        if (pcms[i].pcm == pcm) pcms[i].pcm = NULL;
    return REAL(snd_pcm_close)(pcm);
}

int snd_pcm_hw_params_any(void *pcm, void *params) {
    int (*set)(void *, void *, unsigned, int), (*set_channels)(void *, void *, unsigned);
    card_t *card = card_of(pcm);
    int result = REAL(snd_pcm_hw_params_any)(pcm, params);
    set = (__typeof__(set))alsa("snd_pcm_hw_params_set_rate");
    set_channels = (__typeof__(set_channels))alsa("snd_pcm_hw_params_set_channels");
    if (card && card->rate) set(pcm, params, card->rate, 0);
    if (card && card->channels) set_channels(pcm, params, card->channels);
    return result;
}

/* --- how they fail --- */

static int is_gone(void *pcm) {
    card_t *card = card_of(pcm), now;
    char name[16];
    if (!card) return 0;
    snprintf(name, sizeof name, "hw:%d", card->number);
    return fault_is("ends") || (!fault_is("spins") && !find_card(name, &now));
}

static int is(void *pcm, const char *word) { return card_of(pcm) && fault_is(word); }

static int overruns(void *pcm) {
    static struct timespec told;
    struct stat stat_now;
    char path[512];
    if (!is(pcm, "overflow")) return 0;
    snprintf(path, sizeof path, "%s/fault", getenv("ALSA_SHIM"));
    if (stat(path, &stat_now) || !memcmp(&told, &stat_now.st_mtim, sizeof told)) return 0;
    told = stat_now.st_mtim;
    return overrun = 1;
}

int snd_pcm_poll_descriptors(void *pcm, struct pollfd *pfds, unsigned space) {
    static int ready = -1, never = -1;
    int n = REAL(snd_pcm_poll_descriptors)(pcm, pfds, space);
    if (ready < 0) {
        ready = eventfd(1, EFD_CLOEXEC);
        never = eventfd(0, EFD_CLOEXEC);
    }
    if (is_gone(pcm) || is(pcm, "spins") || is(pcm, "silent"))
        for (int i = 0; i < n; i++) {
            pfds[i].fd = is(pcm, "silent") ? never : ready;
            pfds[i].events = POLLIN;
        }
    return n;
}

int snd_pcm_poll_descriptors_revents(void *pcm, struct pollfd *pfds, unsigned n, unsigned short *revents) {
    if (is_gone(pcm)) return -ENODEV;
    *revents = is(pcm, "spins") ? POLLERR : 0;
    if (is(pcm, "spins") || is(pcm, "silent")) return 0;
    return REAL(snd_pcm_poll_descriptors_revents)(pcm, pfds, n, revents);
}

long snd_pcm_avail_update(void *pcm) {
    if (is_gone(pcm) || is(pcm, "spins")) return -ENODEV;
    if (overruns(pcm)) return -EPIPE;
    return is(pcm, "silent") ? 0 : REAL(snd_pcm_avail_update)(pcm);
}

int snd_pcm_status_get_state(const void *status) {
    return overrun ? STATE_XRUN : REAL(snd_pcm_status_get_state)(status);
}

int snd_pcm_prepare(void *pcm) { return overrun ? 0 : REAL(snd_pcm_prepare)(pcm); }

int snd_pcm_start(void *pcm) {
    if (!overrun) return REAL(snd_pcm_start)(pcm);
    return overrun = 0;
}

/* Throws away so much of what is captured, as an overrun does, waiting for it to come. */
static void lose(void *pcm, int ms) {
    static char scrap[1 << 16];
    long (*snd_pcm_readi)(void *, void *, unsigned long) = (__typeof__(snd_pcm_readi))alsa("snd_pcm_readi");
    card_t *card = card_of(pcm);
    long left = (long)ms * card->rate / 1000, most = sizeof scrap / 2 / (card->channels ? card->channels : 2), n;
    while (left > 0) {
        n = snd_pcm_readi(pcm, scrap, left < most ? left : most);
        if (n == -EAGAIN) usleep(1000);
        else if (n < 0) return;
        else left -= n;
    }
}

int snd_pcm_recover(void *pcm, int error, int silent) {
    int result = 0;
    if (overrun && fault_number()) lose(pcm, fault_number());
    else result = REAL(snd_pcm_recover)(pcm, error, silent);
    overrun = 0;
    return result;
}

int snd_pcm_drop(void *pcm) {
    while (is(pcm, "stuck")) pause();
    if (is_gone(pcm) || is(pcm, "spins")) return -ENODEV;
    return overrun ? 0 : REAL(snd_pcm_drop)(pcm);
}
