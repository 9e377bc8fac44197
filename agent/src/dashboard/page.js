"use strict";
const live = new EventSource("/live" + location.search);
live.onmessage = (event) => {
  const part = JSON.parse(event.data);
  const place = document.getElementById(part.id);
  if (place) place.innerHTML = part.html;
};
live.onopen = () => document.body.classList.remove("lost");
live.onerror = () => document.body.classList.add("lost");
