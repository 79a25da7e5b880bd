// The pixels of a video's frame, for painters that are quicker with them.

/** The frame that a video shows; null where the browser has no such thing. */
export function frameOf(video: HTMLVideoElement): VideoFrame | null {
  try {
    return typeof VideoFrame === "function" ? new VideoFrame(video) : null;
  } catch {
    return null; // the video itself, then
  }
}

export class Pixels {
  private image: ImageData | null = null;
  private works = true;

  /** The frame in red, green, blue and alpha, in memory that the next one is written to as well; null where the browser
   * cannot do it. */
  async of(frame: VideoFrame): Promise<ImageData | null> {
    const { width, height } = frame.visibleRect ?? { width: 0, height: 0 };
    if (!this.works || !width) return null;
    if (this.image?.width !== width || this.image.height !== height) this.image = new ImageData(width, height);
    try {
      await frame.copyTo(this.image.data, { format: "RGBA" } as VideoFrameCopyToOptions);
      return this.image;
    } catch {
      this.works = false;
      return null;
    }
  }
}
