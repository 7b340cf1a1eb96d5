// A drawing over a photograph, which becomes a mask: white where it was drawn.

const LONG_SIDE = 1024; // Of a mask in pixels.
const COLOR = "#ff2d78";

export class Board {
  constructor(frame, brush, eraser) {
    this.image = frame.querySelector("img");
    this.canvas = frame.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.brush = brush;
    this.eraser = eraser;
    this.strokes = []; // Each a list of points, with width and kind, so that the last can be undone.
    this.image.addEventListener("load", () => this.begin());
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      const width = this.brush.value / 100 * Math.max(this.canvas.width, this.canvas.height);
      this.strokes.push({ width, erases: this.eraser.checked, points: [this.place(event)] });
      this.draw();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      this.strokes[this.strokes.length - 1].points.push(this.place(event));
      this.draw();
    });
  }

  show(address) {
    this.clear(); // Also of a picture that the browser cannot show.
    if (address) this.image.src = address;
    else this.image.removeAttribute("src");
  }

  begin() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.clear();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
    return [across * this.canvas.width, down * this.canvas.height];
  }

  draw() {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = COLOR;
    for (const { width, erases, points } of this.strokes) {
      context.globalCompositeOperation = erases ? "destination-out" : "source-over";
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.stroke();
    }
  }

  undo() {
    this.strokes.pop();
    this.draw();
  }

  clear() {
    this.strokes = [];
    this.draw();
  }

  async makeMask() {
    // Returns a PNG, or null if nothing is drawn.
    const { width, height } = this.canvas;
    if (!this.strokes.length) return null;
    const pixels = this.context.getImageData(0, 0, width, height);
    let drawn = false;
    for (let at = 0; at < pixels.data.length; at += 4) {
      const opacity = pixels.data[at + 3];
      drawn ||= opacity > 0;
      pixels.data.fill(opacity, at, at + 3);
      pixels.data[at + 3] = 255;
    }
    if (!drawn) return null;
    const mask = new OffscreenCanvas(width, height);
    mask.getContext("2d").putImageData(pixels, 0, 0);
    return mask.convertToBlob({ type: "image/png" });
  }
}
