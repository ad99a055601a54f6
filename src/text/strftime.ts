/**
 * Formats dates as C's strftime does in the C locale. Templates are written for Python, which does
 * the same whatever the browser's language.
 */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = "January February March April May June July August September October November December".split(" ");

/**
 * `date` in local time and in a format such as `%d %b %Y`. `%-d` drops leading zeros; an unknown
 * directive stays as it is.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (directive, unpadded: string, letter: string) => {
    const text = field(date, letter);
    if (text === undefined) return directive;
    return unpadded ? text.replace(/^[0 ]+(?=\d)/, "") : text;
  });
}

function field(date: Date, letter: string): string | undefined {
  const digits = (value: number, width = 2) => String(value).padStart(width, "0");
  const day = DAYS[date.getDay()]!;
  const month = MONTHS[date.getMonth()]!;
  switch (letter) {
    case "a":
      return day.slice(0, 3);
    case "A":
      return day;
    case "b":
      return month.slice(0, 3);
    case "B":
      return month;
    case "d":
      return digits(date.getDate());
    case "e":
      return String(date.getDate()).padStart(2);
    case "F":
      return strftime(date, "%Y-%m-%d");
    case "H":
      return digits(date.getHours());
    case "I":
      return digits(date.getHours() % 12 || 12);
    case "j":
      return digits(dayOfYear(date), 3);
    case "m":
      return digits(date.getMonth() + 1);
    case "M":
      return digits(date.getMinutes());
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "S":
      return digits(date.getSeconds());
    case "T":
      return strftime(date, "%H:%M:%S");
    case "y":
      return digits(date.getFullYear() % 100);
    case "Y":
      return String(date.getFullYear());
    case "%":
      return "%";
    default:
      return undefined;
  }
}

/** The day of the year from 1, counted in UTC, where no day is 23 or 25 hours long. */
function dayOfYear(date: Date): number {
  const year = date.getFullYear();
  return (Date.UTC(year, date.getMonth(), date.getDate()) - Date.UTC(year, 0, 0)) / 86_400_000;
}
