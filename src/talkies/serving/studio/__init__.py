"""The studio: a page for people who would rather look than read, on the same service and queue.

The page is written by hand in plain HTML, CSS and JavaScript and served as it is: nothing is built, nothing is loaded
from elsewhere. A ready-made kit (Gradio) was planned and left aside, since what matters here, boxes that are dragged on
a picture and turns that are moved on a timeline by mouse, finger and keyboard, would have been our own code inside it
all the same, while its server would have added a second queue, a second way of handling files, and more memory than
the whole service may use.
"""
