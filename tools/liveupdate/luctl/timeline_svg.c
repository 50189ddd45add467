// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The timeline as a picture
 *
 * One file that needs nothing else: no fonts, no scripts, no style sheets. From
 * top to bottom: what it is, the blackout with a lane for each kernel, the legend
 * with the figures, and the callbacks of each transition on a scale of their own.
 *
 * Phases differ by factors of a million. A bar carries its name where it has room
 * for it, else its number in the legend, and where it has no room for that, the
 * number stands beside the lane with a line that leads to the bar.
 */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline.h"

#define WIDTH		1120
#define MARGIN		40
#define COLUMN		500		/* of legend and transitions */
#define RIGHT		(WIDTH - MARGIN - COLUMN)

#define CHART_LEFT	170
#define CHART_RIGHT	(WIDTH - MARGIN)
#define CHART_WIDTH	(CHART_RIGHT - CHART_LEFT)
#define LANE_HEIGHT	40
#define LANE_GAP	30
#define NUMBER_ROW	26		/* beside a lane */
#define NUMBER_SPACE	19		/* between two numbers */

#define ROW		21
#define TRANSITION_NAME	200		/* of subsystems */
#define TRANSITION_BAR	160

/* More than a kernel has; what exceeds it is counted. */
#define MAX_PHASES	40
#define MAX_CALLBACKS	16
#define MAX_TRANSITIONS	12

#define INK		"#1f2933"
#define FAINT		"#616e7c"
#define RULE		"#e4e7eb"
#define GAP_FILL	"#f0f1f3"
#define GAP_EDGE	"#9aa5b1"
#define FAILED		"#c0392b"
#define NOTE		"#8a5a00"

/* Neighbours differ. */
static const char *const tones[][2] = {
	[TIMELINE_OLD]		= { "#2f5f9e", "#4a7dbf" },
	[TIMELINE_NEW]		= { "#23745a", "#3a9274" },
	[TIMELINE_BETWEEN]	= { "#7b8794", "#7b8794" },
};

struct style {
	int size;
	const char *color;
	const char *anchor;
	bool bold;
};

static const struct style title_style = { 21, INK, "start", true };
static const struct style lead_style = { 14, INK, "start", false };
static const struct style note_style = { 13, NOTE, "start", false };
static const struct style head_style = { 13, INK, "start", true };
static const struct style text_style = { 12, INK, "start", false };
static const struct style figure_style = { 12, INK, "end", false };
static const struct style faint_style = { 12, FAINT, "start", false };
static const struct style faint_figure_style = { 12, FAINT, "end", false };
static const struct style failed_style = { 12, FAILED, "end", false };
static const struct style tick_style = { 11, FAINT, "middle", false };
static const struct style number_style = { 11, INK, "middle", false };
static const struct style bar_style = { 12, "#ffffff", "middle", false };
static const struct style gap_style = { 12, INK, "middle", false };

/* A phase with a number in the legend. */
struct box {
	const struct timeline_item *item;
	int number;
	const char *color;
	double x;
	double width;
	double label;
};

struct transition {
	const struct timeline_item *item;
	const struct timeline_item *callback[MAX_CALLBACKS];
	int shown;
	size_t count;
};

struct picture {
	FILE *file;
	const struct timeline_update *update;
	int64_t from;
	int64_t to;
	double largest;
	struct box boxs[MAX_PHASES];
	int box_count;
	size_t left_out;
	struct transition transitions[MAX_TRANSITIONS];
	int transition_count;
};

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* Writing */

static void escape(FILE *file, const char *text, size_t length)
{
	for (; *text && length; text++, length--) {
		switch (*text) {
		case '&':
			fputs("&amp;", file);
			break;
		case '<':
			fputs("&lt;", file);
			break;
		case '>':
			fputs("&gt;", file);
			break;
		case '"':
			fputs("&quot;", file);
			break;
		case '\'':
			fputs("&#39;", file);
			break;
		default:
			fputc(*text, file);
		}
	}
}

/* About what a sans serif font of this size takes for the first characters of a text. */
static double text_width(const char *text, size_t length, int size)
{
	double width = 0;

	for (; *text && length; text++, length--)
		width += strchr("MW@%mw", *text) ? 0.95 : strchr("Iijl.,:;'|", *text) ? 0.35 :
			 isupper(*text) ? 0.72 : 0.6;

	return width * size;
}

/* A text, cut to a width if it has to be; then the whole of it is its tooltip. */
static void draw_cut(struct picture *picture, const struct style *style, double x, double y,
		     double width, const char *text)
{
	FILE *file = picture->file;
	size_t length = strlen(text);
	bool cut = width && text_width(text, length, style->size) > width;

	fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" fill=\"%s\"", x, y,
		style->size, style->color);
	if (strcmp(style->anchor, "start"))
		fprintf(file, " text-anchor=\"%s\"", style->anchor);
	if (style->bold)
		fputs(" font-weight=\"bold\"", file);
	fputc('>', file);
	while (cut && text_width(text, length, style->size) > width - style->size)
		length--;
	escape(file, text, length);
	if (cut) {
		fputs("&#8230;<title>", file);
		escape(file, text, strlen(text));
		fputs("</title>", file);
	}
	fputs("</text>\n", file);
}

__printf(5, 6)
static void draw_text(struct picture *picture, const struct style *style, double x, double y,
		      const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	draw_cut(picture, style, x, y, 0, text ? text : "");
	free(text);
}

/* A filled rectangle with the whole truth as its tooltip. */
static void draw_bar(struct picture *picture, const struct timeline_item *item, double x, double y,
		     double width, double height, const char *color)
{
	char duration[TIMELINE_TIME_SIZE] = "unknown";
	FILE *file = picture->file;
	char *text;

	if (item->measured)
		timeline_time(duration, item->duration_ns);
	text = timeline_item_text(item);
	fprintf(file,
		"<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"><title>",
		x, y, width, height, color);
	escape(file, text, strlen(text));
	fprintf(file, ", %s</title></rect>\n", duration);
	free(text);
}

static void draw_line(struct picture *picture, double x1, double y1, double x2, double y2,
		      const char *color)
{
	fprintf(picture->file,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
		x1, y1, x2, y2, color);
}

static const char *error_name(const struct timeline_item *item)
{
	const char *name = strerrorname_np(-item->error);

	return name ? name : "failed";
}

/* Collecting */

static double chart_x(const struct picture *picture, int64_t ns)
{
	double length = picture->to > picture->from ? (double)(picture->to - picture->from) : 1;

	return CHART_LEFT + (double)(ns - picture->from) / length * CHART_WIDTH;
}

static void collect_boxs(struct picture *picture)
{
	const struct timeline_items *phases = &picture->update->phases;
	int tone[ARRAY_SIZE(tones)] = { 0 };

	for (size_t i = 0; i < phases->count; i++) {
		const struct timeline_item *item = &phases->item[i];
		struct box *box = &picture->boxs[picture->box_count];

		if (item->blackout != picture->update->jumped)
			continue;
		if (picture->box_count == MAX_PHASES) {
			picture->left_out++;
			continue;
		}
		box->item = item;
		box->number = ++picture->box_count;
		box->color = item->error ? FAILED : tones[item->side][tone[item->side]++ % 2];
		if (item->measured) {
			box->x = chart_x(picture, item->start_ns);
			box->width = chart_x(picture, item->start_ns + item->duration_ns) -
				      box->x;
			picture->largest = larger(picture->largest, (double)item->duration_ns);
		}
	}
}

static int compare_durations(const void *first, const void *second)
{
	const struct timeline_item *a = *(const struct timeline_item *const *)first;
	const struct timeline_item *b = *(const struct timeline_item *const *)second;

	if (a->duration_ns != b->duration_ns)
		return a->duration_ns > b->duration_ns ? -1 : 1;

	return a < b ? -1 : a > b;
}

/* The order of the array of callbacks is that of time. */
static int compare_places(const void *first, const void *second)
{
	const struct timeline_item *a = *(const struct timeline_item *const *)first;
	const struct timeline_item *b = *(const struct timeline_item *const *)second;

	return a < b ? -1 : a > b;
}

static bool is_of(const struct timeline_item *callback, const struct timeline_item *transition)
{
	return callback->transition == transition->transition &&
	       callback->side == transition->side &&
	       callback->start_ns >= transition->start_ns &&
	       callback->start_ns <= transition->start_ns + transition->duration_ns;
}

/* The slowest callbacks of a transition. */
static bool collect_callbacks(const struct timeline_items *callbacks, struct transition *transition)
{
	const struct timeline_item **all;

	transition->count = 0;
	all = calloc(callbacks->count ? callbacks->count : 1, sizeof(*all));
	if (!all)
		return false;
	for (size_t i = 0; i < callbacks->count; i++) {
		if (is_of(&callbacks->item[i], transition->item))
			all[transition->count++] = &callbacks->item[i];
	}
	qsort(all, transition->count, sizeof(*all), compare_durations);
	transition->shown = transition->count < MAX_CALLBACKS ?
			    (int)transition->count : MAX_CALLBACKS;
	memcpy(transition->callback, all, (size_t)transition->shown * sizeof(*all));
	qsort(transition->callback, (size_t)transition->shown, sizeof(*transition->callback),
	      compare_places);
	free(all);

	return transition->count;
}

/* Rehearsals are no part of a blackout. */
static void collect_transitions(struct picture *picture)
{
	const struct timeline_update *update = picture->update;

	for (size_t i = 0, tried = 0;
	     i < update->transitions.count && tried < MAX_TRANSITIONS; i++) {
		struct transition *transition = &picture->transitions[picture->transition_count];
		const struct timeline_item *item = &update->transitions.item[i];

		if (update->jumped && !item->blackout &&
		    (item->transition == LIVEUPDATE_TIMELINE_FREEZE ||
		     item->transition == LIVEUPDATE_TIMELINE_THAW))
			continue;
		tried++;
		transition->item = item;
		if (collect_callbacks(&update->callbacks, transition))
			picture->transition_count++;
	}
}

/* The chart */

static void draw_ticks(struct picture *picture, double top, double bottom)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = { { 1, "ns" }, { 1e3, "us" }, { 1e6, "ms" }, { 1e9, "s" } };
	double length = (double)(picture->to - picture->from);
	double rough = length / 8, step = 1;
	size_t unit = 0;

	if (length < 1)
		return;
	while (step * 10 <= rough)
		step *= 10;
	step *= rough > step * 5 ? 10 : rough > step * 2 ? 5 : rough > step ? 2 : 1;
	while (unit + 1 < ARRAY_SIZE(units) && length >= 2 * units[unit + 1].ns)
		unit++;

	for (int i = 0; i * step <= length; i++) {
		double x = CHART_LEFT + i * step / length * CHART_WIDTH;

		draw_line(picture, x, top + 6, x, bottom, RULE);
		draw_text(picture, &tick_style, x, top, i ? "%g %s" : "%g",
			  i * step / units[unit].ns, units[unit].name);
	}
}

/* Is there room in a bar for its number, and the name? */
static bool has_room(const struct box *box, const char *name)
{
	double width = text_width("88 ", 3, bar_style.size) +
		       larger(text_width(name, SIZE_MAX, bar_style.size), *name ? 30 : 0);

	return box->width >= width;
}

/* Place the numbers of narrow bars beside the lane, and lead to the bars. */
static void draw_numbers(struct picture *picture, enum timeline_side side, double lane, bool above)
{
	double edge = above ? lane : lane + LANE_HEIGHT, sign = above ? -1 : 1;
	double limit = CHART_RIGHT - 8, last = CHART_LEFT - NUMBER_SPACE;
	struct box *narrow[MAX_PHASES];
	int count = 0;

	for (int i = 0; i < picture->box_count; i++) {
		struct box *box = &picture->boxs[i];

		if (box->item->side == side && box->item->measured && !has_room(box, ""))
			narrow[count++] = box;
	}
	for (int i = 0; i < count; i++) {
		double middle = narrow[i]->x + narrow[i]->width / 2;

		narrow[i]->label = larger(middle, last + NUMBER_SPACE);
		last = narrow[i]->label;
	}
	for (int i = count - 1; i >= 0; i--) {
		narrow[i]->label = smaller(narrow[i]->label, limit);
		limit = narrow[i]->label - NUMBER_SPACE;
	}
	for (int i = 0; i < count; i++) {
		double x = narrow[i]->x + narrow[i]->width / 2;

		draw_line(picture, narrow[i]->label, edge + sign * 12, x, edge, GAP_EDGE);
		draw_text(picture, &number_style, narrow[i]->label,
			  edge + sign * (above ? 15 : 23), "%d", narrow[i]->number);
	}
}

static void draw_lane(struct picture *picture, enum timeline_side side, double y)
{
	const struct timeline_update *update = picture->update;
	const char *release = side == TIMELINE_OLD ? update->old : update->new;

	draw_text(picture, &head_style, MARGIN, y + 17, "%s kernel",
		  side == TIMELINE_OLD ? "old" : "new");
	draw_cut(picture, &faint_style, MARGIN, y + 33, CHART_LEFT - MARGIN - 10,
		 *release ? release : "unknown");

	for (int i = 0; i < picture->box_count; i++) {
		const struct box *box = &picture->boxs[i];
		const char *name = box->item->name;
		char duration[TIMELINE_TIME_SIZE];
		double middle = box->x + box->width / 2;

		if (box->item->side != side || !box->item->measured)
			continue;
		draw_bar(picture, box->item, box->x, y, larger(box->width, 1), LANE_HEIGHT,
			 box->color);
		if (has_room(box, name)) {
			draw_text(picture, &bar_style, middle, y + 17, "%d %s", box->number,
				  name);
			draw_text(picture, &bar_style, middle, y + 32, "%s",
				  timeline_time(duration, box->item->duration_ns));
		} else if (has_room(box, "")) {
			draw_text(picture, &bar_style, middle, y + 25, "%d", box->number);
		}
	}
}

static void draw_gap_area(struct picture *picture, double x, double width, double top,
			  double bottom)
{
	fprintf(picture->file,
		"<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\" stroke=\"%s\" stroke-dasharray=\"4 3\"/>\n",
		x, top, larger(width, 0.1), bottom - top, GAP_FILL, GAP_EDGE);
}

/* Between what is known of both kernels there is more than the gap. */
static void draw_unknown_gap(struct picture *picture, double top, double bottom)
{
	double left = CHART_LEFT, right = CHART_RIGHT;
	bool old = false, new = false;

	for (int i = 0; i < picture->box_count; i++) {
		const struct box *box = &picture->boxs[i];

		if (!box->item->measured)
			continue;
		if (box->item->side == TIMELINE_OLD) {
			left = larger(left, box->x + box->width);
			old = true;
		} else {
			right = smaller(right, box->x);
			new = true;
		}
	}
	if (!old || !new || left > right)
		return;

	draw_gap_area(picture, left, right - left, top, bottom);
	if (left + 180 < CHART_RIGHT)
		draw_text(picture, &faint_style, left + 8, top + 25, "%s",
			  picture->update->invalid ? "an unknown time" : "not recorded");
}

/* The time in which no kernel runs lies across both lanes. */
static void draw_gap(struct picture *picture, double top, double bottom)
{
	for (int i = 0; i < picture->box_count; i++) {
		const struct box *box = &picture->boxs[i];
		double middle = box->x + box->width / 2, y = (top + bottom) / 2;
		char duration[TIMELINE_TIME_SIZE];

		if (box->item->side != TIMELINE_BETWEEN)
			continue;
		if (!box->item->measured) {
			draw_unknown_gap(picture, top, bottom);
			continue;
		}
		draw_gap_area(picture, box->x, box->width, top, bottom);
		if (has_room(box, box->item->name)) {
			draw_text(picture, &gap_style, middle, y - 3, "%d %s", box->number,
				  box->item->name);
			draw_text(picture, &gap_style, middle, y + 13, "%s",
				  timeline_time(duration, box->item->duration_ns));
		} else if (has_room(box, "")) {
			draw_text(picture, &gap_style, middle, y + 4, "%d", box->number);
		}
	}
}

static double draw_chart(struct picture *picture, double y)
{
	bool jumped = picture->update->jumped;
	double old = y + 14 + NUMBER_ROW, new = old + LANE_HEIGHT + LANE_GAP;
	double bottom = jumped ? new + LANE_HEIGHT : old + LANE_HEIGHT;

	draw_ticks(picture, y, bottom);
	draw_line(picture, CHART_LEFT, old + LANE_HEIGHT, CHART_RIGHT, old + LANE_HEIGHT, GAP_EDGE);
	draw_line(picture, CHART_LEFT, bottom, CHART_RIGHT, bottom, GAP_EDGE);
	draw_gap(picture, old, bottom);
	draw_lane(picture, TIMELINE_OLD, old);
	draw_numbers(picture, TIMELINE_OLD, old, true);
	if (jumped) {
		draw_lane(picture, TIMELINE_NEW, new);
		draw_numbers(picture, TIMELINE_NEW, new, false);
		draw_numbers(picture, TIMELINE_BETWEEN, old, false);
	}

	return bottom + NUMBER_ROW + 20;
}

/* The legend */

static void draw_share(struct picture *picture, double x, double y, int64_t ns, const char *color)
{
	const struct timeline_update *update = picture->update;
	double width = 70 * (double)ns / larger(picture->largest, 1);

	if (!update->blackout_known || !update->blackout_ns)
		return;
	draw_text(picture, &faint_figure_style, x + COLUMN - 80, y, "%.2f %%",
		  100 * (double)ns / (double)update->blackout_ns);
	if (color)
		fprintf(picture->file,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"9\" fill=\"%s\"/>\n",
			x + COLUMN - 70, y - 9, larger(width, 0.5), color);
}

static void draw_figures(struct picture *picture, double x, double y,
			 const struct timeline_item *item)
{
	char duration[TIMELINE_TIME_SIZE] = "unknown";

	if (item->measured)
		timeline_time(duration, item->duration_ns);
	draw_cut(picture, &text_style, x + 30, y, 240, item->name);
	draw_text(picture, item->measured ? &figure_style : &faint_figure_style, x + 350, y, "%s",
		  duration);
	if (item->error)
		draw_text(picture, &failed_style, x + COLUMN - 80, y, "%s", error_name(item));
}

/* What belongs to a side, and what no kernel does to the old one. */
static double draw_boxs(struct picture *picture, bool new, double y)
{
	const double x = new ? RIGHT : MARGIN;

	draw_text(picture, &head_style, x, y, "%s", new ? "New kernel" : "Old kernel");
	draw_line(picture, x, y + 7, x + COLUMN, y + 7, RULE);
	y += 7;
	for (int i = 0; i < picture->box_count; i++) {
		const struct box *box = &picture->boxs[i];
		bool is_new = box->item->side == TIMELINE_NEW;

		if (is_new != new)
			continue;
		y += ROW;
		fprintf(picture->file,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"22\" height=\"16\" rx=\"3\" fill=\"%s\"/>\n",
			x, y - 12, box->color);
		draw_text(picture, &bar_style, x + 11, y, "%d", box->number);
		draw_figures(picture, x, y, box->item);
		if (box->item->measured && box->item->blackout)
			draw_share(picture, x, y, box->item->duration_ns, box->color);
	}

	return y;
}

static double draw_outside(struct picture *picture, double y)
{
	const struct timeline_items *phases = &picture->update->phases;
	int shown = 0;

	if (!picture->update->jumped)
		return y;
	for (size_t i = 0; i < phases->count && shown < MAX_PHASES; i++) {
		const struct timeline_item *item = &phases->item[i];

		if (item->blackout)
			continue;
		if (!shown++) {
			y += ROW + 14;
			draw_text(picture, &head_style, MARGIN, y, "Outside the blackout");
			draw_line(picture, MARGIN, y + 7, MARGIN + COLUMN, y + 7, RULE);
			y += 7;
		}
		y += ROW;
		draw_figures(picture, MARGIN, y, item);
		draw_text(picture, &faint_figure_style, MARGIN + COLUMN, y, "%s kernel",
			  item->side == TIMELINE_OLD ? "old" : "new");
	}

	return y;
}

static double draw_legend(struct picture *picture, double y)
{
	const struct timeline_update *update = picture->update;
	char duration[TIMELINE_TIME_SIZE];
	double left, right = y;

	left = draw_outside(picture, draw_boxs(picture, false, y));
	if (update->jumped)
		right = draw_boxs(picture, true, y);
	if (update->unaccounted_ns) {
		right += ROW;
		draw_text(picture, &faint_style, RIGHT + 30, right, "in no phase");
		draw_text(picture, &faint_figure_style, RIGHT + 350, right, "%s",
			  timeline_time(duration, update->unaccounted_ns));
		draw_share(picture, RIGHT, right, update->unaccounted_ns, NULL);
	}
	y = larger(left, right);
	if (picture->left_out) {
		y += ROW;
		draw_text(picture, &faint_style, MARGIN, y, "and %zu more phases",
			  picture->left_out);
	}

	return y + 44;
}

/* The transitions */

static double draw_transition(struct picture *picture, const struct transition *transition,
			      double x, double y)
{
	const struct timeline_item *item = transition->item;
	double length = item->duration_ns ? (double)item->duration_ns : 1;
	const char *color = tones[item->side][0];
	char duration[TIMELINE_TIME_SIZE];
	double left = x + TRANSITION_NAME;

	draw_text(picture, &head_style, x, y, "%s", item->name);
	draw_text(picture, &faint_style, left, y, "%s kernel, by subsystem",
		  item->side == TIMELINE_OLD ? "old" : "new");
	draw_text(picture, &figure_style, x + COLUMN, y, "%s",
		  timeline_time(duration, item->duration_ns));
	draw_line(picture, x, y + 7, x + COLUMN, y + 7, RULE);
	y += 7;
	for (int i = 0; i < transition->shown; i++) {
		const struct timeline_item *callback = transition->callback[i];
		double start = (double)(callback->start_ns - item->start_ns) / length;
		double took = (double)callback->duration_ns / length;

		y += ROW;
		draw_cut(picture, &text_style, x, y, TRANSITION_NAME - 10, callback->name);
		fprintf(picture->file,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"13\" fill=\"%s\"/>\n",
			left, y - 11, TRANSITION_BAR, GAP_FILL);
		start = smaller(start * TRANSITION_BAR, TRANSITION_BAR - 1);
		took = larger(smaller(took * TRANSITION_BAR, TRANSITION_BAR - start), 1);
		draw_bar(picture, callback, left + start, y - 11, took, 13,
			 callback->error ? FAILED : color);
		timeline_time(duration, callback->duration_ns);
		if (callback->error)
			draw_text(picture, &failed_style, x + COLUMN, y, "%s %s",
				  error_name(callback), duration);
		else
			draw_text(picture, &figure_style, x + COLUMN, y, "%s", duration);
	}
	if (transition->count > (size_t)transition->shown) {
		y += ROW;
		draw_text(picture, &faint_style, x, y, "and %zu cheaper ones",
			  transition->count - (size_t)transition->shown);
	}

	return y + 40;
}

/* Two in a row. */
static double draw_transitions(struct picture *picture, double y)
{
	for (int i = 0; i < picture->transition_count; i += 2) {
		double left, right = y;

		left = draw_transition(picture, &picture->transitions[i], MARGIN, y);

		if (i + 1 < picture->transition_count)
			right = draw_transition(picture, &picture->transitions[i + 1], RIGHT, y);
		y = larger(left, right);
	}

	return y;
}

static double draw_head(struct picture *picture, char *const *notes)
{
	const struct timeline_update *update = picture->update;
	char blackout[TIMELINE_TIME_SIZE] = "unknown", gap[TIMELINE_TIME_SIZE] = "unknown";
	const char *old = *update->old ? update->old : "unknown";
	const char *new = *update->new ? update->new : "unknown";
	double y = 78;

	draw_text(picture, &title_style, MARGIN, 46, "Live update %u: %s", update->number,
		  update->outcome);
	if (!update->jumped) {
		draw_text(picture, &lead_style, MARGIN, y, "%s", old);
	} else if (text_width(old, SIZE_MAX, lead_style.size) +
		   text_width(new, SIZE_MAX, lead_style.size) < WIDTH - 2 * MARGIN - 30) {
		draw_text(picture, &lead_style, MARGIN, y, "%s \u2192 %s", old, new);
	} else {
		draw_text(picture, &lead_style, MARGIN, y, "%s", old);
		y += 20;
		draw_text(picture, &lead_style, MARGIN, y, "\u2192 %s", new);
	}
	if (update->jumped) {
		if (update->blackout_known)
			timeline_time(blackout, update->blackout_ns);
		if (update->gap_known)
			timeline_time(gap, update->gap_ns);
		y += 22;
		draw_text(picture, &lead_style, MARGIN, y,
			  "Blackout: %s, between the kernels %s", blackout, gap);
	}
	for (; *notes; notes++) {
		y += 20;
		draw_text(picture, &note_style, MARGIN, y, "Note: %s.", *notes);
	}

	return y + 46;
}

static double draw_body(struct picture *picture, char *const *notes)
{
	double y = draw_head(picture, notes);

	y = draw_chart(picture, y);
	y = draw_legend(picture, y);

	return draw_transitions(picture, y);
}

/* The height comes first in the file, and is known last. */
static void draw_frame(struct picture *picture, const char *body, double height)
{
	const struct timeline_update *update = picture->update;
	FILE *file = picture->file;

	fprintf(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\" font-family=\"sans-serif\" role=\"img\">\n",
		WIDTH, height, WIDTH, height);
	fprintf(file, "<title>Live update %u: ", update->number);
	escape(file, update->old, SIZE_MAX);
	fputs(" to ", file);
	escape(file, update->new, SIZE_MAX);
	fprintf(file, "</title>\n<rect width=\"%d\" height=\"%.0f\" fill=\"#ffffff\"/>\n%s</svg>\n",
		WIDTH, height, body);
}

enum luctl_status timeline_write_svg(const char *path, const struct timeline_update *update,
				     char *const *notes)
{
	struct picture picture = { .update = update };
	char *body = NULL, *whole = NULL;
	enum luctl_status status;
	double height;
	size_t size;

	picture.from = update->axis_from_ns;
	picture.to = update->axis_to_ns;
	collect_boxs(&picture);
	collect_transitions(&picture);

	picture.file = open_memstream(&body, &size);
	if (!picture.file)
		goto err_memory;
	height = draw_body(&picture, notes);
	if (fclose(picture.file))
		goto err_memory;

	picture.file = open_memstream(&whole, &size);
	if (!picture.file)
		goto err_memory;
	draw_frame(&picture, body, height);
	if (fclose(picture.file))
		goto err_memory;

	status = timeline_save(path, whole, size);
	goto out_free;

err_memory:
	status = luctl_fail(LUCTL_FAILED, path, NULL, "out of memory");
out_free:
	free(whole);
	free(body);
	return status;
}
