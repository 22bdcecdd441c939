/* Raw output is a copy: no byte is looked at unless a terminal shows it. */
#include "output.h"

#include "escape.h"
#include "json.h"

#include <stdio.h>

/* Days since 1970 to a date of the Gregorian calendar, counted in eras of 400 years that begin in March. */
static void civil(int64_t days, int *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned from_march = (5 * of_year + 2) / 153;

    *day = of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = (int)((int64_t)year_of_era + era * 400) + (*month <= 2);
}

static void digits(char *at, unsigned count, unsigned value)
{
    while (count-- != 0) {
        at[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

void output_time(char buffer[OUTPUT_TIME_BYTES], int64_t time)
{
    const int64_t us_per_day = 86400LL * 1000000;
    int64_t days = time / us_per_day, rest = time % us_per_day;
    int year;
    unsigned month, day;

    if (rest < 0) {
        rest += us_per_day;
        days--;
    }
    civil(days, &year, &month, &day);
    memcpy(buffer, "0000-00-00T00:00:00.000000Z", OUTPUT_TIME_BYTES);
    digits(buffer, 4, year > 0 ? (unsigned)year : 0);
    digits(buffer + 5, 2, month);
    digits(buffer + 8, 2, day);
    digits(buffer + 11, 2, (unsigned)(rest / 3600000000LL));
    digits(buffer + 14, 2, (unsigned)(rest / 60000000 % 60));
    digits(buffer + 17, 2, (unsigned)(rest / 1000000 % 60));
    digits(buffer + 20, 6, (unsigned)(rest % 1000000));
}

static void message_json(struct text *text, struct psc_bytes topic, const struct psc_message *message)
{
    char time[OUTPUT_TIME_BYTES];
    struct json json = json_object(text);

    output_time(time, message->published_at);
    json_string(&json, "topic", topic);
    json_u64(&json, "offset", message->offset);
    json_string(&json, "published", bytes_of(time));
    json_string(&json, "publisher", message->publisher);
    json_bytes(&json, "key", message->key);
    if (message->header_count != 0) {
        struct json headers = json_member_object(&json, "headers");
        for (size_t i = 0; i < message->header_count; i++)
            json_pair(&headers, message->headers[i].name, message->headers[i].value);
        json_end(&headers);
    }
    json_bytes(&json, "payload", message->payload);
    json_end(&json);
}

void output_bytes(struct text *text, const struct output_style *style, struct psc_bytes bytes)
{
    if (style->terminal)
        escape_add(text, bytes);
    else
        text_bytes(text, bytes);
}

void output_message(struct text *text, const struct output_style *style, struct psc_bytes topic,
                    const struct psc_message *message)
{
    if (style->json) {
        message_json(text, topic, message);
    } else {
        if (style->verbose) {
            output_bytes(text, style, topic);
            text_char(text, '\t');
            text_u64(text, message->offset);
            text_char(text, '\t');
        }
        output_bytes(text, style, message->payload);
        if (style->bare)
            return;
    }
    text_char(text, style->nul ? '\0' : '\n');
}

void output_published(struct text *text, const struct output_style *style, struct psc_bytes topic,
                      uint64_t offset)
{
    if (style->json) {
        struct json json = json_object(text);
        json_string(&json, "topic", topic);
        json_u64(&json, "offset", offset);
        json_end(&json);
    } else {
        text_u64(text, offset);
    }
    text_char(text, style->nul ? '\0' : '\n');
}
