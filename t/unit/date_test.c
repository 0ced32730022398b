
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Dates in every form that a token answer may have, and in some that it may
 * not.
 */


#include "check.h"


#define DATE_BYTES  64

/* 2023-11-14T22:13:20Z */
#define DATE        UNIT_NOW


typedef struct {
    const char             *text;
    int64_t                 seconds;
} date_t;


static const date_t  dates[] = {

    /* RFC 3339 */

    { "2023-11-14T22:13:20Z", DATE },
    { "2023-11-14T22:13:20+00:00", DATE },
    { "2023-11-14T22:13:20-00:00", DATE },
    { "2023-11-14T22:13:20.5Z", DATE },
    { "2023-11-14T22:13:20.123456789Z", DATE },
    { "2023-11-14T22:13:20.1234567+00:00", DATE },
    { "2023-11-15T00:13:20+02:00", DATE },
    { "2023-11-14T16:43:20-05:30", DATE },
    { "2023-11-15T22:12:20+23:59", DATE },

    /* yyyy-MM-dd HH:mm:ss */

    { "2023-11-14 22:13:20", DATE },
    { "2023-11-14 22:13:20 +00:00", DATE },

    /* MM/dd/yyyy HH:mm:ss, App Service 2017 */

    { "11/14/2023 22:13:20 +00:00", DATE },
    { "11/14/2023 22:13:20", DATE },
    { "11/05/2021 15:18:31 +00:00", 1636125511 },
    { "09/09/2001 01:46:40 +00:00", 1000000000 },

    /* M/d/yyyy h:mm:ss AM/PM, the same on Windows */

    { "11/14/2023 10:13:20 PM +00:00", DATE },
    { "11/14/2023 10:13:20 PM", DATE },
    { "11/14/2023 10:13:20 pm +00:00", DATE },
    { "9/9/2001 1:46:40 AM +00:00", 1000000000 },
    { "9/9/2001 12:00:00 AM +00:00", 999993600 },
    { "9/9/2001 12:00:00 PM +00:00", 999993600 + 43200 },
    { "9/9/2001 11:59:59 PM +00:00", 999993600 + 86399 },

    /* the ends of the calendar's rules */

    { "1970-01-01T00:00:00Z", 0 },
    { "1970-01-01T00:00:00+00:01", -60 },
    { "2000-02-29T00:00:00Z", 951782400 },
    { "2024-02-29T23:59:59Z", 1709251199 },
    { "2016-12-31T23:59:60Z", 1483228800 },
    { "9999-12-31T23:59:59Z", 253402300799 }
};


static const char *const  others[] = {
    "", " ", "Z", "0", "-1", "3599", "1700003600", "soon", "null",

    /* no day, no time */

    "2023-00-14T22:13:20Z", "2023-13-14T22:13:20Z", "2023-11-00T22:13:20Z",
    "2023-11-31T22:13:20Z", "2023-02-29T22:13:20Z", "1900-02-29T22:13:20Z",
    "2100-02-29T22:13:20Z", "2023-11-14T24:00:00Z", "2023-11-14T22:60:20Z",
    "2023-11-14T22:13:61Z", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
    "0/1/2023 1:00:00 AM +00:00", "13/1/2023 1:00:00 AM +00:00",
    "14/11/2023 22:13:20 +00:00", "11/31/2023 22:13:20 +00:00",
    "11/14/2023 0:13:20 AM +00:00", "11/14/2023 13:13:20 PM +00:00",
    "11/14/2023 22:13:20 PM +00:00",

    /* no form of these */

    "2023-11-14", "2023-11-14T22:13:20", "2023-11-14T22:13Z",
    "2023-11-14T22:13:20z", "2023-11-14t22:13:20Z", "2023-11-14T22:13:20ZZ",
    "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20,5Z",
    "2023-11-14T22:13:20+0000", "2023-11-14T22:13:20+00",
    "2023-11-14T22:13:20+24:00", "2023-11-14T22:13:20+00:60",
    "2023-11-14T22:13:20 Z", "2023-11-14 22:13:20Z", "2023-11-14  22:13:20",
    " 2023-11-14 22:13:20", "2023-11-14 22:13:20 ", "2023-11-14 22:13:20\n",
    "2023-1-14T22:13:20Z", "2023-11-4 22:13:20", "2023-11-14 2:13:20",
    "23-11-14 22:13:20", "02023-11-14 22:13:20", "+2023-11-14T22:13:20Z",
    "2023-11-14 22:13:20 PM", "2023/11/14 22:13:20",
    "2023-11-14 22:13:20 UTC", "11/14/2023", "11/14/2023 22:13",
    "11/14/2023 22:13:20 GMT", "11/14/23 22:13:20 +00:00",
    "11-14-2023 22:13:20 +00:00", "11/14/2023T22:13:20Z",
    "11/14/2023 10:13:20PM +00:00", "11/14/2023 10:13:20 P +00:00",
    "11/14/2023 10:13:20 XM +00:00", "11/14/2023 22:1:20 +00:00",
    "011/14/2023 22:13:20 +00:00", "Tue, 14 Nov 2023 22:13:20 GMT",
    "14. November 2023", "20231114T221320Z",

    /* a zone that is not UTC's is none of these forms' */

    "11/14/2023 22:13:20 +01:00", "11/14/2023 22:13:20 -00:00",
    "11/14/2023 10:13:20 PM -05:00", "2023-11-14 22:13:20 +01:00",

    /* az: local time */

    "2023-11-14 22:13:20.000000", "2023-11-14 22:13:20.5",

    /* other digits than ASCII's */

    "\xd9\xa2\xd9\xa0\xd9\xa2\xd9\xa3-11-14 22:13:20",
    "2023\xe2\x80\x90""11-14 22:13:20",
    "99999999999999999999-11-14 22:13:20",
    "2023-11-14 99999999999999999999:13:20"
};


static void
test_every_form_is_read(void **state)
{
    size_t   i;
    int64_t  seconds;

    (void) state;

    for (i = 0; i < unit_count(dates); i++) {

        seconds = -999;

        if (aad_date(dates[i].text, &seconds) != 0) {
            fail_msg("\"%s\" is refused", dates[i].text);
        }

        if (seconds != dates[i].seconds) {
            fail_msg("\"%s\" is %lld", dates[i].text, (long long) seconds);
        }
    }
}


static void
test_what_is_no_date_is_refused(void **state)
{
    size_t   i;
    int64_t  seconds;

    (void) state;

    for (i = 0; i < unit_count(others); i++) {

        seconds = 17;

        if (aad_date(others[i], &seconds) != -1) {
            fail_msg("\"%s\" is taken for %lld", others[i],
                     (long long) seconds);
        }

        assert_int_equal(seconds, 17);
    }
}


/* summer time would show in one of the two zones, in one half of the year */
static void
test_zone_of_the_machine_is_never_asked(void **state)
{
    size_t  i;

    static const char *const  zones[] = {
        "America/New_York", "Australia/Lord_Howe", "XYZ-13:45"
    };

    for (i = 0; i < unit_count(zones); i++) {
        setenv("TZ", zones[i], 1);
        tzset();
        test_every_form_is_read(state);
    }

    unsetenv("TZ");
    tzset();
}


/* four centuries, of which the last one ends in a leap year */
static void
test_every_day_is_the_one_of_the_c_library(void **state)
{
    char        text[DATE_BYTES];
    int64_t     seconds;
    time_t      day, last;
    struct tm   tm;

    static const char *const  forms[] = {
        "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S +00:00",
        "%m/%d/%Y %I:%M:%S %p +00:00"
    };

    (void) state;

    last = (time_t) 13569465600;            /* 2400-01-01 */

    for (day = 0; day < last; day += 86400 + 3671) {

        assert_non_null(gmtime_r(&day, &tm));
        assert_true(strftime(text, sizeof(text), forms[day % 4], &tm) != 0);

        if (aad_date(text, &seconds) != 0 || seconds != (int64_t) day) {
            fail_msg("\"%s\" is not %lld", text, (long long) day);
        }
    }
}


/* Whatever stands in a date's place: no crash, and no time out of the way. */
static void
test_damaged_date_is_refused_or_another_date(void **state)
{
    char     text[DATE_BYTES];
    size_t   i, j, k;
    int64_t  seconds;

    static const char  signs[] = "0123456789 -+/:.TZAPMap\x01\x7f\xff%";

    (void) state;

    for (i = 0; i < unit_count(dates); i++) {
        for (j = 0; j < strlen(dates[i].text); j++) {

            /* one character is another one, or missing, or too many */

            for (k = 0; k < sizeof(signs) - 1; k++) {
                snprintf(text, sizeof(text), "%s", dates[i].text);
                text[j] = signs[k];

                if (aad_date(text, &seconds) == 0) {
                    assert_in_range(seconds + 86400, 0, 253402387200);
                }

                snprintf(text, sizeof(text), "%.*s%c%s", (int) j,
                         dates[i].text, signs[k], dates[i].text + j);

                if (aad_date(text, &seconds) == 0) {
                    assert_in_range(seconds + 86400, 0, 253402387200);
                }
            }

            snprintf(text, sizeof(text), "%.*s%s", (int) j, dates[i].text,
                     dates[i].text + j + 1);
            (void) aad_date(text, &seconds);

            /* cut off: its zone or its half may be all that is missing */

            snprintf(text, sizeof(text), "%.*s", (int) j, dates[i].text);

            if (aad_date(text, &seconds) == 0) {
                assert_true(j >= strlen("9/9/2001 1:46:40"));
            }
        }
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_every_form_is_read),
        cmocka_unit_test(test_what_is_no_date_is_refused),
        cmocka_unit_test(test_zone_of_the_machine_is_never_asked),
        cmocka_unit_test(test_every_day_is_the_one_of_the_c_library),
        cmocka_unit_test(test_damaged_date_is_refused_or_another_date)
    };

    return cmocka_run_group_tests_name("date", tests, NULL, NULL);
}
