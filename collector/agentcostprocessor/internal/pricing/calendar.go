package pricing

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	dayNS    = 86_400_000_000_000
	minuteNS = 60_000_000_000
	firstDay = -1_000_000_000
	lastDay  = 1_000_000_000
)

// dayOf returns the UTC day of a Unix time in nanoseconds, as days since 1970-01-01.
func dayOf(at int64) int64 {
	day := at / dayNS
	if at%dayNS < 0 {
		day--
	}
	return day
}

// minuteOf returns the minute of the UTC day, 0 to 1439.
func minuteOf(at int64) int64 { return (at - dayOf(at)*dayNS) / minuteNS }

// dayNumber returns the day number of an ISO date.
func dayNumber(text string) (int64, error) {
	moment, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is no date: %w", text, err)
	}
	return dayOf(moment.Unix() * 1_000_000_000), nil
}

// dayText returns the ISO date of a day number.
func dayText(day int64) string { return time.Unix(day*86_400, 0).UTC().Format(time.DateOnly) }

// weekdayOf returns 1 for Monday to 7 for Sunday.
func weekdayOf(day int64) int { return int(((day+3)%7+7)%7) + 1 }

// window is [start, end) in minutes of the day; one that ends before it starts crosses midnight.
type window struct{ start, end int64 }

// constraint is days first..last (both inclusive), windows of the day and weekdays. Every condition that is given must
// hold.
type constraint struct {
	first, last int64
	windows     []window
	weekdays    uint8 // bit 1 is Monday; 0 is every day
}

// always is the constraint of an entry without conditions.
var always = constraint{first: firstDay, last: lastDay}

// rawDates are the date conditions of an entry of the book.
type rawDates struct {
	From     string      `json:"from"`
	To       string      `json:"to"`
	Windows  [][2]string `json:"windows"`
	Weekdays []int       `json:"weekdays"`
}

func (r *rawDates) compile() (constraint, error) {
	c := always
	var err error
	if r.From != "" {
		if c.first, err = dayNumber(r.From); err != nil {
			return c, err
		}
	}
	if r.To != "" {
		if c.last, err = dayNumber(r.To); err != nil {
			return c, err
		}
	}
	for _, pair := range r.Windows {
		start, startErr := minutes(pair[0])
		end, endErr := minutes(pair[1])
		if startErr != nil || endErr != nil {
			return c, fmt.Errorf("%q is no time window", pair)
		}
		c.windows = append(c.windows, window{start, end})
	}
	for _, day := range r.Weekdays {
		if day < 1 || day > 7 {
			return c, fmt.Errorf("%d is no weekday", day)
		}
		c.weekdays |= 1 << day
	}
	return c, nil
}

func minutes(text string) (int64, error) {
	hours, rest, _ := strings.Cut(text, ":")
	h, err := strconv.ParseInt(hours, 10, 16)
	if err != nil {
		return 0, err
	}
	m, err := strconv.ParseInt(rest, 10, 16)
	return h*60 + m, err
}

// onDay tells whether the price can hold at some time of this day.
func (c *constraint) onDay(day int64) bool {
	return c.first <= day && day <= c.last && (c.weekdays == 0 || c.weekdays>>weekdayOf(day)&1 == 1)
}

func (c *constraint) atMinute(minute int64) bool {
	for _, w := range c.windows {
		if w.start < w.end {
			if w.start <= minute && minute < w.end {
				return true
			}
		} else if minute >= w.start || minute < w.end {
			return true
		}
	}
	return len(c.windows) == 0
}

// holds tells whether the price holds at a minute of a day.
func (c *constraint) holds(day, minute int64) bool { return c.onDay(day) && c.atMinute(minute) }
