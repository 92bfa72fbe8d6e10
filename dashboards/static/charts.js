// Gives every chart a button that lets Plotly draw it: to read values off it and to zoom. Plotly comes from this server,
// and only when somebody asks; without JavaScript the SVG and the table of values stand as they are.
(() => {
  "use strict";
  let loading = null;

  // Plotly would write its styles into the page, which the content security policy forbids; review.css has what it needs.
  const standIn = (id) => {
    const element = document.createElement("span");
    element.id = id;
    element.className = "no-inline-styles";
    element.hidden = true;
    document.head.append(element);
  };

  const plotly = () => {
    loading ??= new Promise((done, failed) => {
      standIn("plotly.js-style-global");
      standIn("9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"); // maps, of which there are none here
      const script = document.createElement("script");
      script.src = "/static/plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    });
    return loading;
  };

  const draw = async (figure, plot, button) => {
    button.disabled = true;
    button.textContent = "Drawing ...";
    try {
      const drawer = await plotly();
      const told = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      const ink = getComputedStyle(document.body);
      const line = getComputedStyle(figure).getPropertyValue("--line");
      const colours = [0, 1, 2, 3, 4].map((n) => getComputedStyle(figure).getPropertyValue(`--series-${n}`));
      const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
      const place = document.createElement("div");
      place.className = "drawn";
      plot.replaceWith(place);
      await drawer.newPlot(
        place,
        told.data,
        {
          height: 260,
          margin: { l: 56, r: 12, t: 8, b: 36 },
          showlegend: told.data.length > 1,
          legend: { orientation: "h", y: -0.2 },
          paper_bgcolor: "rgba(0,0,0,0)",
          plot_bgcolor: "rgba(0,0,0,0)",
          colorway: colours,
          font: { color: ink.color, size: 12 },
          xaxis: { ...told.layout.xaxis, ...axis },
          yaxis: { ...told.layout.yaxis, ...axis },
        },
        { displayModeBar: false, responsive: true },
      );
      button.remove();
    } catch {
      button.textContent = "Cannot be drawn; the values are below";
    }
  };

  for (const figure of document.querySelectorAll("figure.chart")) {
    const plot = figure.querySelector(".plot");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "closer";
    button.textContent = "Look closer";
    button.setAttribute("aria-label", `Look closer at ${figure.querySelector("figcaption").textContent}`);
    button.addEventListener("click", () => draw(figure, plot, button));
    figure.querySelector("figcaption").append(button);
  }
})();
