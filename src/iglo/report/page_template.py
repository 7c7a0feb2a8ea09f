"""The Jinja template of the page of a run."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>iglo: a run on {{ data }}</title>
<style>
:root { color-scheme: light; --ink: #222; --soft: #595959; --line: #d8d8d8; --accent: #0b5a8a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: #fff; color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 0; padding: 0; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: .4rem; color: var(--soft); max-width: 46rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0 .25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; white-space: nowrap; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, .text { text-align: left; }
thead th { font-weight: 600; }
thead small { display: block; font-weight: 400; color: var(--soft); }
tbody th { font-weight: 400; }
tr.aim th, tr.aim td, tfoot th, tfoot td { color: var(--soft); font-style: italic; border-bottom: 0; }
dl { margin: .5rem 0 2rem; color: var(--soft); font-size: .93rem; max-width: 52rem; }
dl div { margin: .15rem 0; }
dt, dd { display: inline; margin: 0; }
dt { font-weight: 600; }
details summary { cursor: pointer; }
</style>
</head>
<body>
<header>
<h1>A run of iglo</h1>
<p>Images: {{ data }}, {{ size }} pixels. An image is x, and its learned code is z. The generator G makes an image from
a code; the encoder E finds the code of an image. {{ counts }}</p>
<nav aria-label="Contents"><ul>
{% for title, intro, pictures in sections %}
<li><a href="#section-{{ loop.index }}">{{ title }}</a></li>
{% endfor %}
<li><a href="#numbers">Numbers</a></li><li><a href="#params">Parameters</a></li><li><a href="#times">Times</a></li>
</ul></nav>
</header>
<main>
{% for title, intro, pictures in sections %}
<section aria-labelledby="section-{{ loop.index }}">
<h2 id="section-{{ loop.index }}">{{ title }}</h2>
{% if intro %}
<p>{{ intro }}</p>
{% endif %}
{% for picture in pictures %}
<figure>
{% if picture.still %}
<picture><source media="(prefers-reduced-motion: reduce)" srcset="{{ picture.still }}">
{% endif %}
<img src="{{ picture.source }}" width="{{ picture.width }}" height="{{ picture.height }}" alt="{{ picture.name }}: \
{{ picture.caption }}">
{% if picture.still %}
</picture>
{% endif %}
<figcaption><code>{{ picture.name }}</code> {{ picture.caption }}</figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
<section aria-labelledby="numbers">
<h2 id="numbers">Numbers</h2>
<p>A dash means that a number is not defined, or not measured because there are too few images.</p>
{% for table in tables %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}">
<table>
<caption>{{ table.title }}</caption>
<thead><tr><th scope="col"></th>
{% for measure in table.measures %}
<th scope="col">{{ measure.title }}<small>{{ measure.better }}</small></th>
{% endfor %}
</tr></thead>
<tbody>
{% for name, cells in table.rows %}
<tr{{ ' class="aim"'|safe if name == "ideal" }}><th scope="row">{{ name }}</th>
{% for cell in cells %}
<td>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if table.note %}
<p>{{ table.note }}</p>
{% endif %}
<dl>
{% for measure in table.measures if measure.meaning %}
<div><dt>{{ measure.title }}:</dt> <dd>{{ measure.meaning }}</dd></div>
{% endfor %}
{% if table.feature_networks %}
<div><dt>Network that measured:</dt> <dd><code>{{ table.feature_networks|join(", ") }}</code></dd></div>
{% endif %}
</dl>
{% endfor %}
</section>
<section aria-labelledby="params">
<h2 id="params">Parameters</h2>
<details><summary>All {{ params|length }} parameters of this run</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Parameters">
<table>
<caption>Parameters</caption>
<thead><tr><th scope="col">key</th><th scope="col" class="text">value</th></tr></thead>
<tbody>
{% for key, value in params %}
<tr><th scope="row"><code>{{ key }}</code></th><td class="text"><code>{{ value }}</code></td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
</section>
<section aria-labelledby="times">
<h2 id="times">Times</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Times">
<table>
<caption>Time and memory of each stage</caption>
<thead><tr><th scope="col">stage</th><th scope="col">seconds</th><th scope="col">images per second</th>\
<th scope="col">memory, MiB<small>at its peak</small></th></tr></thead>
<tbody>
{% for stage, time in times %}
<tr><th scope="row">{{ stage }}</th><td>{{ "%.1f"|format(time.seconds) }}</td>\
<td>{{ "{:,.0f}".format(time.images_per_s) if time.images_per_s else "–" }}</td>\
<td>{{ "{:,}".format(time.peak_mib) if time.peak_mib else "–" }}</td></tr>
{% endfor %}
</tbody>
<tfoot><tr><th scope="row">in all</th><td>{{ "%.1f"|format(times|sum(attribute="1.seconds")) }}</td><td></td><td></td>\
</tr></tfoot>
</table>
</div>
<p>The stage that writes this page is not listed, because it was still running. Times depend on the machine.</p>
</section>
</main>
</body>
</html>
"""
