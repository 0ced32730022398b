
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Dates, in all the forms in which token endpoints were seen to write them.
 * What has no zone is UTC: the machine's own is never asked.
 */


#include "internal.h"

#include <string.h>
#include <strings.h>


#define AAD_DAY_SECONDS         86400


typedef struct {
    int                     year;
    int                     month;          /* 1 to 12 */
    int                     day;            /* 1 to 31 */
    int                     hour;
    int                     minute;
    int                     second;
    int                     is_half;        /* true: the hour is 1 to 12 */
    int                     is_afternoon;
    int                     offset_seconds; /* east of UTC */
} aad_date_t;


static int aad_date_matches(const char *form, const char *text,
    aad_date_t *date);
static const char *aad_date_part(char letter, const char *text,
    aad_date_t *date);
static const char *aad_date_half(const char *text, aad_date_t *date);
static const char *aad_date_fraction(const char *text);
static const char *aad_date_zone(const char *text, aad_date_t *date);
static const char *aad_date_number(const char *text, size_t digits_min,
    size_t digits_max, int *number);
static int aad_date_is_real(const aad_date_t *date);
static int64_t aad_date_days(const aad_date_t *date);
static int aad_date_month_days(int year, int month);
static int aad_date_is_leap_year(int year);


/*
 * Y, M, D, h, m, s: so many digits as there have to be, n, j, H: one digit or
 * two; P: AM or PM, f: a fraction or nothing, Z: a zone; all else is itself.
 */
static const char *const  aad_date_forms[] = {
    "Y-M-DTh:m:sfZ",            /* RFC 3339 5.6 */
    "Y-M-D h:m:s",
    "Y-M-D h:m:s +00:00",
    "n/j/Y H:m:s",              /* App Service, version 2017-09-01 */
    "n/j/Y H:m:s +00:00",
    "n/j/Y H:m:s P",            /* the same on Windows */
    "n/j/Y H:m:s P +00:00",
    NULL
};


int
aad_date(const char *text, int64_t *seconds)
{
    aad_date_t          date;
    const char *const  *form;

    for (form = aad_date_forms; *form != NULL; form++) {

        memset(&date, 0, sizeof(aad_date_t));

        if (!aad_date_matches(*form, text, &date)) {
            continue;
        }

        if (!aad_date_is_real(&date)) {
            return -1;
        }

        if (date.is_half) {
            date.hour = date.hour % 12 + (date.is_afternoon ? 12 : 0);
        }

        *seconds = aad_date_days(&date) * AAD_DAY_SECONDS
                   + date.hour * 3600 + date.minute * 60 + date.second
                   - date.offset_seconds;

        return 0;
    }

    return -1;
}


static int
aad_date_matches(const char *form, const char *text, aad_date_t *date)
{
    for ( /* void */ ; *form != '\0'; form++) {

        text = aad_date_part(*form, text, date);

        if (text == NULL) {
            return 0;
        }
    }

    return *text == '\0';
}


/* Each of these returns what follows the part, or NULL when it is not it. */
static const char *
aad_date_part(char letter, const char *text, aad_date_t *date)
{
    switch (letter) {

    case 'Y':
        return aad_date_number(text, 4, 4, &date->year);

    case 'M':
        return aad_date_number(text, 2, 2, &date->month);

    case 'n':
        return aad_date_number(text, 1, 2, &date->month);

    case 'D':
        return aad_date_number(text, 2, 2, &date->day);

    case 'j':
        return aad_date_number(text, 1, 2, &date->day);

    case 'h':
        return aad_date_number(text, 2, 2, &date->hour);

    case 'H':
        return aad_date_number(text, 1, 2, &date->hour);

    case 'm':
        return aad_date_number(text, 2, 2, &date->minute);

    case 's':
        return aad_date_number(text, 2, 2, &date->second);

    case 'P':
        return aad_date_half(text, date);

    case 'f':
        return aad_date_fraction(text);

    case 'Z':
        return aad_date_zone(text, date);

    default:
        return *text == letter ? text + 1 : NULL;
    }
}


static const char *
aad_date_half(const char *text, aad_date_t *date)
{
    date->is_half = 1;
    date->is_afternoon = strncasecmp(text, "PM", 2) == 0;

    return date->is_afternoon || strncasecmp(text, "AM", 2) == 0 ? text + 2
                                                                 : NULL;
}


/* Of no use here: a token's life is counted in seconds. */
static const char *
aad_date_fraction(const char *text)
{
    size_t  digits;

    if (*text != '.') {
        return text;
    }

    digits = strspn(text + 1, "0123456789");

    return digits != 0 ? text + 1 + digits : NULL;
}


static const char *
aad_date_zone(const char *text, aad_date_t *date)
{
    int          hours, minutes;
    const char  *p;

    if (*text == 'Z') {
        return text + 1;
    }

    if (*text != '+' && *text != '-') {
        return NULL;
    }

    p = aad_date_number(text + 1, 2, 2, &hours);

    if (p == NULL || *p != ':') {
        return NULL;
    }

    p = aad_date_number(p + 1, 2, 2, &minutes);

    if (p == NULL || hours > 23 || minutes > 59) {
        return NULL;
    }

    date->offset_seconds = (hours * 60 + minutes) * 60
                           * (*text == '-' ? -1 : 1);

    return p;
}


static const char *
aad_date_number(const char *text, size_t digits_min, size_t digits_max,
    int *number)
{
    size_t  i, digits;

    digits = strspn(text, "0123456789");

    if (digits < digits_min || digits > digits_max) {
        return NULL;
    }

    *number = 0;

    for (i = 0; i < digits; i++) {
        *number = *number * 10 + (text[i] - '0');
    }

    return text + digits;
}


/* second 60 is a leap second's, and the next minute's first here */
static int
aad_date_is_real(const aad_date_t *date)
{
    return date->year >= 1970 && date->month >= 1 && date->month <= 12
           && date->day >= 1
           && date->day <= aad_date_month_days(date->year, date->month)
           && date->hour >= (date->is_half ? 1 : 0)
           && date->hour <= (date->is_half ? 12 : 23)
           && date->minute <= 59 && date->second <= 60;
}


/* since 1970-01-01, in the Gregorian calendar */
static int64_t
aad_date_days(const aad_date_t *date)
{
    int      month;
    int64_t  years, days;

    years = date->year - 1;

    days = years * 365 + years / 4 - years / 100 + years / 400
           - (1969 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400);

    for (month = 1; month < date->month; month++) {
        days += aad_date_month_days(date->year, month);
    }

    return days + date->day - 1;
}


static int
aad_date_month_days(int year, int month)
{
    static const int  days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    return days[month - 1]
           + (month == 2 && aad_date_is_leap_year(year) ? 1 : 0);
}


static int
aad_date_is_leap_year(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}
