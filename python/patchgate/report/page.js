"use strict";
const moments = [...document.querySelectorAll("input[name=moment]")];
const timeline = document.getElementById("timeline");
const begin = Number(timeline.dataset.begin), end = Number(timeline.dataset.end);
const ZOOM = 6; // times the panel's width

const shown = () => moments.findIndex((input) => input.checked);
const seconds = (input) => Number(input.dataset.seconds);
const picked = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function select(index, { scroll = true } = {}) {
  moments[index].checked = true;
  document.querySelectorAll(".moment").forEach((moment, i) => { moment.hidden = i !== index; });
  for (const plot of document.querySelectorAll(".plot")) {
    const left = Number(plot.dataset.left), right = Number(plot.dataset.right);
    const at = left + (seconds(moments[index]) - begin) / (end - begin) * (right - left);
    plot.querySelector(".cursor").style.left = `${100 * at}%`;
  }
  document.getElementById("before").disabled = index === 0;
  document.getElementById("after").disabled = index === moments.length - 1;
  const strip = document.querySelector(".strip"), label = moments[index].parentElement;
  if (scroll && strip.scrollWidth > strip.clientWidth) { // sideways only: the page stays put
    strip.scrollLeft = label.offsetLeft - strip.offsetLeft - (strip.clientWidth - label.offsetWidth) / 2;
  }
  magnify();
}

// Shows the same place of all three pictures, so large that single pixels are seen.
function magnify() {
  const moment = document.getElementById(`moment-${shown()}`);
  const [column, row] = moment.dataset[picked("spot")].split(",").map(Number);
  const view = picked("view");
  for (const figure of moment.querySelectorAll("figure")) {
    const lens = figure.querySelector(".magnified");
    const frame = figure.querySelector(".frame").getBoundingClientRect();
    const picture = figure.querySelector(`img[data-view=${view}]`);
    const box = moment.querySelector(".frame .marker").style; // all are of one sub-block's size
    const wide = parseFloat(box.width) / 100, tall = parseFloat(box.height) / 100;
    const x = column / Number(lens.dataset.gridWidth), y = row / Number(lens.dataset.gridHeight);
    const size = [ZOOM * frame.width, ZOOM * frame.height], room = [lens.clientWidth, lens.clientHeight];
    const offset = [x + wide / 2, y + tall / 2].map((middle, i) =>
      Math.min(0, Math.max(room[i] - size[i], room[i] / 2 - middle * size[i])));
    lens.style.backgroundImage = `url(${picture.src})`;
    lens.style.backgroundSize = `${size[0]}px ${size[1]}px`;
    lens.style.backgroundPosition = `${offset[0]}px ${offset[1]}px`;
    const mark = lens.querySelector(".marker").style;
    mark.left = `${offset[0] + x * size[0]}px`;
    mark.top = `${offset[1] + y * size[1]}px`;
    mark.width = `${wide * size[0]}px`;
    mark.height = `${tall * size[1]}px`;
  }
}

function nearest(time) {
  let best = 0;
  moments.forEach((input, i) => {
    if (Math.abs(seconds(input) - time) < Math.abs(seconds(moments[best]) - time)) best = i;
  });
  return best;
}

timeline.addEventListener("click", (event) => {
  const plot = event.target.closest(".plot");
  if (!plot) return;
  const area = plot.getBoundingClientRect();
  const left = Number(plot.dataset.left), right = Number(plot.dataset.right);
  const at = ((event.clientX - area.left) / area.width - left) / (right - left);
  select(nearest(begin + at * (end - begin)));
});
moments.forEach((input, i) => input.addEventListener("change", () => select(i, { scroll: false })));
for (const [id, step] of [["before", -1], ["after", 1]]) {
  document.getElementById(id).addEventListener("click", () => {
    select(Math.min(moments.length - 1, Math.max(0, shown() + step)));
  });
}
for (const input of document.querySelectorAll("input[name=view], input[name=spot]")) {
  input.addEventListener("change", () => {
    document.body.dataset.view = picked("view");
    magnify();
  });
}
addEventListener("resize", magnify);
select(shown());
