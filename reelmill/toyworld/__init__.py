"""A small world whose truth is known: videos of moving shapes, an oracle that reads them back, a captioner for them.

world     what can be said: colours, kinds, directions, and which combinations are held out
render    one shot as frames
edit      shots joined into a raw video with cuts, fades, dissolves, wipes and defects
encode    frames to a file; make writes a folder of videos, each with its truth
oracle    colour, kind and direction read back from frames
captioner a tiny BLIP-2 for this world
"""
